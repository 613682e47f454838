"""Writes what is measured in README.md and results/README.md: tables, their picture, the times.

What a part says is in ``tools/readme_parts/*.md``; here are the rows of its tables.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import nbformat
import polars as pl

from course.chapters import CHAPTERS
from latentcrs_utils.evaluation.metrics import METRIC, METRICS
from latentcrs_utils.evaluation.one_turn import LEVELS, SEEN, UNSEEN, level_table
from latentcrs_utils.evaluation.published import ROWS, dialogue_rows, printed
from tools.lesson_policies import core_minutes

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
PAGES = ROOT / "README.md", RESULTS / "README.md"
PICTURE = RESULTS / "one_turn_ml-100k.png"
OURS = ("LatentCRS", "LatentCRS+", "LatentCRS+ F", "LatentCRS+ V")
WITH_WORDS = ("backbone alone", "backbone + lexicon filter", "fusion without intents", *OURS)
IN_SHORT = ("popularity", *WITH_WORDS)
FUSION, PAPER = "fusion without intents", "LatentCRS_B"
READERS = "lexicon", "classifier", "lexicon + classifier", "model, quoted", "both", "model"
DIALOGUES = (
    "multi_turn", "seeds", "multi_turn_variants", "cold_start", "extraction", "reranking",
    "steering", "wishes",
)  # fmt: skip

Record = dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; the first `left` columns are words, the others numbers."""
    marks = "---|" * left + "---:|" * (len(head) - left)
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], f"|{marks}", *lines[1:]])


def named(system: str) -> str:
    """A system's name, ours in bold."""
    return f"**{system}**" if system.startswith("LatentCRS") else system


def strong(value: float, best: float) -> str:
    """A value with three digits, the best in bold."""
    return f"**{value:.3f}**" if value == best else f"{value:.3f}"


def interval(mean: float, low: float, high: float) -> str:
    """A difference with its 95 % interval."""
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def gap(row: Record, metric: str) -> str:
    """A recorded gap with its 95 % interval."""
    return interval(*(row[f"{metric}_gap{end}"] for end in ("", "_low", "_high")))


def gap_to(row: Record) -> str:
    """S@5 of `LatentCRS+` minus that of a row, with its 95 % interval."""
    mean, low, high = (0.0 - row[f"S@5_gap{end}"] for end in ("", "_high", "_low"))
    return interval(mean, low, high)


def widest(summary: pl.DataFrame) -> float:
    """Half of the widest 95 % interval of a summary."""
    return float(((summary["high"] - summary["low"]) / 2).max())  # type: ignore[arg-type]


def seconds_in_words(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def minutes(seconds: float) -> str:
    """Seconds as minutes."""
    return f"{seconds / 60:.1f} min"


def fitting(record: Record) -> float:
    """Processor seconds of all rivals' fits, of each in its longest seed: a kept fit takes none."""
    step = pl.col("step").str.replace(r" \(seed.*", "")
    fits = pl.DataFrame(record["fits"]).group_by(step, maintain_order=True)  # sums alike each time
    return float(fits.agg(pl.col("cpu_seconds").max())["cpu_seconds"].sum())


def made(record: Record) -> str:
    """Which command made a record, and when."""
    return f"`{record['command']}`, {record['date']}."


TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(ROOT / "tools" / "readme_parts"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.globals |= {
    "table": table, "named": named, "gap": gap, "gap_to": gap_to, "widest": widest, "made": made,
    "fitting": fitting, "minutes": minutes, "levels": LEVELS, "metrics": METRICS, "paper": PAPER,
}  # fmt: skip


def written(part: str, **values: Any) -> str:
    """A part of a page: its template filled, each paragraph on one line."""
    text = TEMPLATES.get_template(f"{part}.md").render(**values)
    return re.sub(r"(?<=[^|\n])\n(?=[^|\n])", " ", text).strip()


def short_part(one_turn: Record, multi_turn: Record) -> str:
    """The README's one table: NDCG@20 by level and of real people, success in dialogues."""
    (talks,) = (of for of in multi_turn["results"] if of["level"] == "paraphrased")
    people = pl.DataFrame(one_turn["report"]).filter(people="all").select("system", people=METRIC)
    found = pl.DataFrame(
        [{"system": row["system"], "found": row["S@5"]} for row in talks["systems"]]
    )
    shown = level_table(pl.DataFrame(one_turn["masked"]), phrasing=UNSEEN).join(people, on="system")
    shown = shown.join(found, on="system").filter(pl.col("system").is_in(IN_SHORT))
    best = shown.max().row(0)
    rows = [[named(name), *map(strong, values, best[1:])] for name, *values in shown.iter_rows()]
    return written("in_short", record=one_turn, talks=multi_turn, rows=rows)


def results_part(recorded: Record) -> str:
    """One turn on ml-100k: a picture, the table of NDCG@20, real people, several messages."""
    summary, unmasked = pl.DataFrame(recorded["masked"]), pl.DataFrame(recorded["unmasked"])
    by_turns = pl.DataFrame(recorded["by_turns"])
    unseen = level_table(summary, phrasing=UNSEEN)
    seen = level_table(summary, phrasing=SEEN).rows_by_key("system", named=True, unique=True)
    rows = []
    for row in unseen.iter_rows(named=True):
        values = [(row[n], unseen[n].max(), seen[row["system"]][n]) for n in LEVELS]
        cells = [f"{strong(value, best)} ({known:.3f})" for value, best, known in values]
        rows.append([named(row["system"]), *cells])
    wide = level_table(by_turns.filter(pl.col("system").is_in(WITH_WORDS)), phrasing=UNSEEN)
    people = pl.DataFrame(recorded["report"])
    of_group = {of[0]: rows for of, rows in people.group_by("people", maintain_order=True)}
    (fusion,) = people.filter(people="all", system=FUSION).to_dicts()
    plus = unmasked.filter(phrasing=UNSEEN, system="LatentCRS+", level="plain")["NDCG@20"].item()
    return written(
        "results",
        record=recorded,
        picture=PICTURE.name,
        summary=summary,
        rows=rows,
        plus=plus,
        sizes={name: rows["n"][0] for name, rows in of_group.items()},
        people_head=[f"{metric}, {name}" for name in of_group for metric in ("Recall@20", METRIC)],
        people_rows=[
            [named(name), *(f"{value:.3f}" for value in rows["Recall@20", METRIC].to_numpy().flat)]
            for (name,), rows in people.group_by("system", maintain_order=True)
        ],
        people_gap=interval(*(-fusion[f"{METRIC}_gap{end}"] for end in ("", "_high", "_low"))),
        by_turns=by_turns,
        turns=wide.columns[1:],
        turn_rows=[[row[0], *(f"{value:.3f}" for value in row[1:])] for row in wide.iter_rows()],
    )


def full_size_part(recorded: Record, from_nothing: Record) -> str:
    """MovieLens-1M whole: NDCG@20 at the four levels, the paper's four metrics, the time.

    Args:
        recorded: what `python -m latentcrs_utils.run --data ml-1m` wrote.
        from_nothing: what the same command wrote for one seed, begun with an empty cache.
    """
    summary = pl.DataFrame(recorded["masked"]).filter(phrasing=UNSEEN)
    best = summary.group_by("level").agg(pl.col("NDCG@20").max()).rows_by_key("level", unique=True)
    found = summary.rows_by_key(["system", "level"], named=True, unique=True)

    def cells(system: str, level: str) -> str:
        row = found[system, level]
        return f"{strong(row['NDCG@20'], best[level][0])} ± {row['seed_spread'] / 2:.3f}"

    def metrics(system: str, level: str, words: str) -> list[str]:
        return [named(system), words, *(f"{found[system, level][m]:.4f}" for m in METRICS)]

    shown = [s for s in IN_SHORT if (s, LEVELS[0]) in found]
    as_printed = printed(2, "ml-1m", PAPER).metrics
    steps = sorted(from_nothing["steps"], key=lambda step: -step["seconds"])
    return written(
        "full_size",
        record=recorded,
        summary=summary,
        rows=[[named(system), *(cells(system, level) for level in LEVELS)] for system in shown],
        metric_rows=[
            [f"{PAPER}, as printed", "the paper's", *(f"{as_printed[m]:.4f}" for m in METRICS)],
            *(metrics(s, level, level) for level in LEVELS for s in ("LatentCRS", "LatentCRS+")),
            metrics("backbone alone", "plain", "none"),
        ],
        from_nothing=from_nothing,
        longest=steps[:6],
        rest=sum(step["seconds"] for step in steps[6:]),
    )


def bench_part(recorded: Record) -> str:
    """Every stage compared with its floor, and with others' code: by `python -m benchmarks`."""
    return written("bench", record=recorded, seconds=seconds_in_words)


def dialogues_part(
    multi_turn: Record, seeds: Record, policies: Record, cold_start: Record, extraction: Record,
    reranking: Record, steering: Record, wishes: Record,
) -> str:  # fmt: skip
    """Success by level and seed, the policies, cold start, what F reads, steering, wishes, costs.

    Args:
        multi_turn, seeds, policies, cold_start: what `python -m experiments.multi_turn` wrote:
            all users at all levels; one level with several seeds; fewer users with the policy that
            asks a language model; one level with the histories cut.
        extraction: what `python -m experiments.extraction` wrote.
        reranking, steering, wishes: what the commands of these names wrote.
    """
    results = multi_turn["results"]
    found = [{row["system"]: row for row in result["systems"]} for result in results]
    best = [max(row["S@5"] for row in rows.values()) for rows in found]
    level_rows = []
    for name in found[0]:
        pairs = zip((rows[name] for rows in found), best, strict=True)
        cells = [f"{strong(row['S@5'], most)} ({row['AT']:.2f})" for row, most in pairs]
        level_rows.append([named(name), *cells])
    policy_rows = [
        [f"{of['difficulty']}, {of['level']}", named(row["system"]), f"{row['S@3']:.3f}",
         f"{row['S@5']:.3f} ({row['S@5_low']:.3f} to {row['S@5_high']:.3f})", f"{row['AT']:.2f}"]
        for of in policies["results"] for row in of["systems"]
    ]  # fmt: skip
    short = [{row["system"]: row["S@5"] for row in r["systems"]} for r in cold_start["results"]]
    shown = "satisfied", "answered", "admitted", METRIC
    return written(
        "dialogues",
        multi_turn=multi_turn, found=found, level_rows=level_rows,
        half=max((row["S@5_high"] - row["S@5_low"]) / 2 for rows in found for row in rows.values()),
        seeds=seeds, at_seeds={row["system"]: row for row in seeds["results"][0]["systems"]},
        policies=policies, policy_rows=policy_rows,
        reranking=reranking, one_turn_rows=one_turn_rows(reranking),
        cold_start=cold_start,
        cold_rows=[[named(n), *(f"{rows[n]:.3f}" for rows in short)] for n in short[0]],
        extraction=extraction, **extraction_table(extraction),
        steering=steering, steering_rows=steering_rows(steering), wishes=wishes,
        wish_rows=[[r["policy"], *(f"{r[key]:.3f}" for key in shown)] for r in wishes["total"]],
        cost_rows=cost_rows(multi_turn, policies),
    )  # fmt: skip


THEIRS = {"LatentCRS": PAPER, "LatentCRS+ F": "LatentCRS_F"}
"""Our systems, and what the paper calls them."""


def paper_rows() -> dict[str, Record]:
    """What the paper prints for one turn on MovieLens-1M, by the system's name here."""
    rows = {row.system: row.metrics for row in ROWS if (row.table, row.data) == (2, "ml-1m")}
    return rows | {ours: rows.get(theirs, {}) for ours, theirs in THEIRS.items()}


def rivals_part(recorded: Record) -> str:
    """The systems of the paper's tables and ours: what `python -m experiments.tables` wrote."""
    talks = {system: row for (data, system), row in dialogue_rows().items() if data == "ml-1m"}
    talks |= {ours: talks[theirs] for ours, theirs in THEIRS.items()}
    masked = pl.DataFrame(recorded["table_2"]["masked"])
    by_level = masked.pivot("level", index="system", values=METRIC, maintain_order=True)
    gaps = {row["system"]: row for row in masked.filter(level=recorded["level"]).to_dicts()}
    best, rows = by_level.max().to_dicts()[0], by_level.to_dicts()
    found = masked.filter(pl.col(f"{METRIC}_gap_low") > 0).group_by("level", maintain_order=True)
    ahead = "; ".join(f"at *{of[0]}* {', '.join(rows['system'])}" for of, rows in found)
    return written("rivals", record=recorded, by_level=rows, best=best, gaps=gaps, talks=talks,
                   ahead=ahead, paper=paper_rows(), strong=strong)  # fmt: skip


def one_turn_rows(recorded: Record) -> list[list[str]]:
    """B, F and the lexicon filter in one turn, and the gaps of F and V, by level."""
    rival = "backbone + lexicon filter"
    rows = []
    for row, v in zip(recorded["filter"], recorded["test"]["rows"], strict=True):
        systems = ("LatentCRS+", "LatentCRS+ F", rival)
        cells = [f"{row[system]['NDCG@20']:.3f}" for system in systems]
        rows.append([row["level"], *cells, gap(row[f"to {rival}"], "NDCG@20"), gap(v, "NDCG@20")])
    return rows


def steering_rows(recorded: Record) -> list[list[str]]:
    """Who found the film after four clicks at noise 0.15, with the gap to the fusion's likes."""
    rows: dict[str, list[str]] = {}
    for row in recorded["results"]:
        if (row["noise"], row["clicks"]) == (0.15, 4):
            away = "" if row["system"] == "fusion, likes" else f", {gap(row, 'S')}"
            rows.setdefault(row["system"], []).append(f"{row['S']:.3f}{away}")
    return [[name, *cells] for name, cells in rows.items()]


def extraction_table(recorded: Record) -> dict[str, list[Any]]:
    """Precision / recall of what F reads in unseen phrasings, by reader and level."""
    kept = [row for row in recorded["rows"] if row.get("phrasing", UNSEEN) == UNSEEN]
    found = {(row["reader"], row["level"]): row for row in kept}
    levels = list(dict.fromkeys(row["level"] for row in kept))

    def cell(row: Record) -> str:
        values = (row[what] for what in ("precision", "recall"))
        return " / ".join("–" if value is None else f"{value:.2f}" for value in values)

    rows = [[reader, *(cell(found[reader, level]) for level in levels)] for reader in READERS]
    return {"extraction_levels": levels, "extraction_rows": rows}


def cost_rows(*records: Record) -> list[list[str]]:
    """Tokens and seconds of choosing the items of one turn, by system, at the first level."""
    rows: dict[str, list[str]] = {}
    for result in (record["results"][0] for record in records):
        for row in result["ledger"]:
            if row["purpose"] == "recommending" and row["system"] not in rows:
                tokens = [f"{row[f'{w}_tokens_a_turn']:.1f}" for w in ("prompt", "completion")]
                cells = [result["level"], *tokens, f"{row['seconds_a_turn']:.3f}"]
                rows[row["system"]] = [named(row["system"]), *cells]
    return list(rows.values())


def notebooks_part() -> str:
    """The README's table of notebooks: what one learns, the minutes it takes, the machine's time.

    The minutes are those that the notebook's sections and exercises give: its core, and all.
    """
    rows = []
    for chapter in CHAPTERS:
        notebook = nbformat.read(ROOT / "notebooks" / f"{chapter.stem}.ipynb", as_version=4)
        text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        whole = sum(
            map(int, re.findall(r"^(?:### Exercise.*,|\*\w+ ·) (\d+) minutes?\W*$", text, re.M))
        )
        minutes = f"{core_minutes(notebook)} / {whole}"
        rows.append((chapter, minutes, notebook.metadata["latentcrs"]["measured"]))
    return written("notebooks", rows=rows)


def _records(part: Callable[..., str], *names: str) -> Callable[[], str]:
    return lambda: part(*(json.loads((RESULTS / f"{n}.json").read_text("utf-8")) for n in names))


PARTS = {
    "in short": _records(short_part, "one_turn_ml-100k", "multi_turn_ml-100k"),
    "notebooks": notebooks_part,
    "results": _records(results_part, "one_turn_ml-100k"),
    "dialogues": _records(dialogues_part, *(f"{name}_ml-100k" for name in DIALOGUES)),
    "rivals": _records(rivals_part, "tables_ml-100k"),
    "rivals of full size": _records(rivals_part, "tables_ml-1m"),
    "full size": _records(full_size_part, "one_turn_ml-1m", "from_nothing_ml-1m"),
    "bench": _records(bench_part, "bench"),
}
PLACE = re.compile(r"<!-- (?P<part>[a-z ]+) -->\n.*?<!-- /(?P=part) -->", re.DOTALL)


def filled(page: str) -> str:
    """A page; each part between `<!-- NAME -->` and `<!-- /NAME -->` is as the records have it."""
    return PLACE.sub(lambda at: f"<!-- {at[1]} -->\n{PARTS[at[1]]()}\n<!-- /{at[1]} -->", page)


def draw(path: Path) -> None:
    """The picture of the results: one panel a level, one bar a system, with intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from latentcrs_utils.plots import PALETTE

    recorded = json.loads((RESULTS / "one_turn_ml-100k.json").read_text(encoding="utf-8"))
    summary = pl.DataFrame(recorded["masked"]).filter(phrasing=UNSEEN)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(LEVELS), sharey=True, sharex=True)
    for axes, level in zip(panels, LEVELS, strict=True):
        rows = summary.filter(level=level)
        names, values = rows["system"].to_list(), rows["NDCG@20"].to_numpy()
        errors = [values - rows["low"].to_numpy(), rows["high"].to_numpy() - values]
        colours = [PALETTE[0] if name in OURS else "#B0B7BF" for name in names]
        axes.barh(names, values, color=colours, xerr=errors, ecolor="#444444", capsize=2)
        axes.set_title(level, fontsize=11, loc="left", fontweight="bold")
        axes.set_xlabel("NDCG@20")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> int:
    """Rewrite both pages and the picture."""
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    draw(PICTURE)
    print("README.md, results/README.md and its picture are up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
