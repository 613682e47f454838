"""Writes the parts of README.md that are measured: the results, their picture, the notebooks."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import polars as pl

from course.chapters import CHAPTERS
from latentcrs_utils.evaluation.metrics import METRICS
from latentcrs_utils.evaluation.one_turn import LEVELS, SEEN, UNSEEN, level_table
from latentcrs_utils.evaluation.published import printed
from tools.readme_dialogues import dialogues_part
from tools.readme_tables import OURS, named, strong, table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
PICTURE = RESULTS / "one_turn_ml-100k.png"
WITH_WORDS = ("backbone alone", "backbone + lexicon filter", "fusion without intents", *OURS)
FULL_SIZE = ("popularity", *WITH_WORDS)
PAPER = "LatentCRS_B"
DIALOGUES = (
    "multi_turn", "seeds", "multi_turn_variants", "cold_start", "extraction", "reranking",
)  # fmt: skip


def results_part(recorded: dict[str, Any]) -> str:
    """The README's results: a picture, the table of NDCG@20, and how to read it."""
    summary, unmasked = pl.DataFrame(recorded["masked"]), pl.DataFrame(recorded["unmasked"])
    unseen = level_table(summary, phrasing=UNSEEN)
    seen = {row["system"]: row for row in level_table(summary, phrasing=SEEN).iter_rows(named=True)}
    rows = (
        [
            named(row["system"]),
            *(
                f"{strong(row[level], unseen[level].max())} ({seen[row['system']][level]:.3f})"
                for level in LEVELS
            ),
        ]
        for row in unseen.iter_rows(named=True)
    )
    plus = unmasked.filter(phrasing=UNSEEN, system="LatentCRS+", level="plain")["NDCG@20"].item()
    lines = [
        "![NDCG@20 of every system at four levels of language]"
        f"({PICTURE.relative_to(ROOT).as_posix()})",
        "",
        f"One-turn recommendation on MovieLens-100k: all {recorded['data']['users']} test users, "
        f"all {recorded['data']['items']:,} films ranked, history masked, **NDCG@20**, mean of "
        f"{len(recorded['seeds'])} seeds, in phrasings that no training text used "
        "(in brackets: phrasings of the training texts).",
        "",
        *table(["", *LEVELS], rows),
        "",
        f"95 % bootstrap intervals over users reach at most ±{widest(summary):.3f}; a system's "
        f"seeds differ by at most {summary['seed_spread'].max():.3f}. With seen films left in the "
        f"ranking (the paper's code), `LatentCRS+` at `plain` has {plus:.3f}. The texts come from "
        "this course's simulator, not the paper's, so compare rows, not papers. Recall@5, NDCG@5 "
        "and Recall@20 are in "
        f"`results/one_turn_ml-100k.json`, made on {recorded['date']} by `make results`.",
        "",
        *turns_part(pl.DataFrame(recorded["by_turns"])),
    ]
    return "\n".join(lines)


def turns_part(by_turns: pl.DataFrame) -> list[str]:
    """Lines of the table by number of messages."""
    wide = level_table(by_turns.filter(pl.col("system").is_in(WITH_WORDS)), phrasing=UNSEEN)
    rows = ([row[0], *(f"{value:.3f}" for value in row[1:])] for row in wide.iter_rows())
    return [
        "After one to five messages (NDCG@20, unseen phrasing, levels mixed, about "
        f"{by_turns['n'].min()} users a column, so intervals reach ±{widest(by_turns):.3f}):",
        "",
        *table(["messages", *wide.columns[1:]], rows),
    ]


def widest(summary: pl.DataFrame) -> float:
    """Half of the widest 95 % interval of a summary."""
    return float(((summary["high"] - summary["low"]) / 2).max())  # type: ignore[arg-type]


def full_size_part(recorded: dict[str, Any], from_nothing: dict[str, Any]) -> str:
    """MovieLens-1M whole: NDCG@20 at the four levels, the paper's four metrics, the time.

    Args:
        recorded: what `python -m latentcrs_utils.run --data ml-1m` wrote.
        from_nothing: what the same command wrote for one seed, begun with an empty cache.
    """
    summary = pl.DataFrame(recorded["masked"]).filter(phrasing=UNSEEN)
    best = summary.group_by("level").agg(pl.col("NDCG@20").max()).rows_by_key("level", unique=True)
    data = recorded["data"]

    def cells(system: str) -> list[str]:
        found = summary.filter(system=system).rows_by_key("level", named=True, unique=True)
        return [
            f"{strong(found[level]['NDCG@20'], best[level][0])} "
            f"± {found[level]['seed_spread'] / 2:.3f}"
            for level in LEVELS
        ]

    def metrics(system: str, level: str, words: str | None = None) -> list[str]:
        row = summary.filter(level=level, system=system).row(0, named=True)
        return [named(system), words or level, *(f"{row[metric]:.4f}" for metric in METRICS)]

    paper = printed(2, "ml-1m", PAPER).metrics
    shown = [system for system in FULL_SIZE if system in summary["system"].to_list()]
    lines = [
        f"MovieLens-1M whole: all {data['users']:,} test users, all {data['items']:,} films "
        f"ranked, history masked, phrasings that no training text used; **NDCG@20**, "
        f"mean of {len(recorded['seeds'])} seeds (± half of what the seeds differ by):",
        "",
        *table(["", *LEVELS], ([named(system), *cells(system)] for system in shown)),
        "",
        f"95 % bootstrap intervals over users reach at most ±{widest(summary):.3f}. The paper "
        "prints one row for MovieLens-1M, with utterances of another simulator (a large language "
        "model that is told the film), so the rows below are no race:",
        "",
        *table(
            ["", "words", *METRICS],
            [
                [f"{PAPER}, as printed", "the paper's", *(f"{paper[m]:.4f}" for m in METRICS)],
                *(metrics(s, level) for level in LEVELS for s in ("LatentCRS", "LatentCRS+")),
                metrics("backbone alone", "plain", words="none"),
            ],
            left=2,
        ),
        "",
        f"`{recorded['command']}`, {recorded['date']}, {recorded['machine']}; all of it is in "
        "`results/one_turn_ml-1m.json`.",
        "",
        time_sentence(from_nothing),
    ]
    return "\n".join(lines)


def time_sentence(recorded: dict[str, Any]) -> str:
    """What the whole path took from an empty cache, and which stage took how much of it."""

    def minutes(seconds: float) -> str:
        return f"{seconds / 60:.1f} min"

    total = sum(row["seconds"] for row in recorded["steps"])
    longest = sorted(recorded["steps"], key=lambda row: -row["seconds"])[:6]
    parts = [f"{row['step'].split(' (')[0]} {minutes(row['seconds'])}" for row in longest]
    return (
        f"From an empty cache the same path took {minutes(total)} for one seed, download, training "
        f"and test included ({recorded['texts']['distinct']:,} distinct sentences, "
        f"{recorded['machine']}, other work beside it, {recorded['date']}): "
        f"{'; '.join(parts)}; the rest {minutes(total - sum(row['seconds'] for row in longest))}. "
        f"`{recorded['command']}`; all steps are in `results/from_nothing_ml-1m.json`."
    )


def bench_part(recorded: dict[str, Any]) -> str:
    """Two tables: every stage compared with its floor, and with what a reader would pick instead.

    Args:
        recorded: what `python -m benchmarks` wrote.
    """
    stages = (
        [
            row["stage"],
            row["scale"],
            duration(row["seconds"]),
            "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:,.0f} MB",
            f"{row['ratio']:.1f} x",
            f"{row['aim']:g} x",
        ]
        for row in recorded["measurements"]
        if row["aim"] is not None
    )
    rivals = [
        [
            row["rival"] + (f", its batch {row['rival_batch']:,}" if "rival_batch" in row else ""),
            row["what"],
            duration(row["rival_seconds"]),
            duration(row["seconds"]),
            f"{row['ratio']:,.0f} x",
            f"{row['aim']:g} x",
        ]
        for row in recorded["against"]
    ]
    lines = [
        *table(
            ["stage", "measured on", "one call", "memory", "ratio to its floor", "aim"],
            stages,
            left=2,
        ),
        "",
        "The floor is the stage's own matrix products, done alone, at the same shapes and in the "
        "same precision, in the same run: 1 would be perfect. Seconds belong to the machine, "
        "ratios travel. Memory is what one call adds at its highest.",
        "",
    ]
    if rivals:
        head = ["instead of", "what", "theirs", "ours", "faster by", "aim"]
        lines += [*table(head, rivals, left=2), ""]
    if any("predictions" in row for row in recorded["against"]):
        lines += [
            "RecBole makes a sample of every prefix of a history, with one prediction; the course "
            "predicts at every position of a window at once. Both meet the same targets once an "
            "epoch; width, layers, heads, length, loss, dropout and threads are alike, and "
            "RecBole's default batch is measured as well.",
            "",
        ]
    threads = "1 thread" if recorded["threads"] == 1 else f"{recorded['threads']} threads"
    lines.append(
        f"{recorded['machine']}, {threads}, {recorded['clock']}, {recorded['date']}, "
        f"`{recorded['command']}` (`make bench`); all of it is in `results/bench.json`."
    )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def notebooks_part() -> str:
    """The README's table of notebooks: question and measured time."""
    lines = ["| | notebook | question | measured (2 CPU cores) |", "|---|---|---|---|"]
    for chapter in CHAPTERS:
        path = ROOT / "notebooks" / f"{chapter.stem}.ipynb"
        title, measured = chapter.title, "to come"
        if path.exists():
            title = f"[{chapter.title}](notebooks/{path.name})"
            measured = nbformat.read(path, as_version=4).metadata["latentcrs"]["measured"]
        lines.append(f"| {chapter.number} | {title} | {chapter.question} | {measured} |")
    return "\n".join(lines)


def fill(text: str, marker: str, content: str) -> str:
    """Replace what stands between `<!-- marker -->` and `<!-- /marker -->`."""
    pattern = re.compile(rf"(<!-- {marker} -->).*?(<!-- /{marker} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"README.md has no place marked <!-- {marker} --> ... <!-- /{marker} -->.")
    return pattern.sub(lambda match: f"{match[1]}\n{content}\n{match[2]}", text)


def readme(text: str) -> str:
    """README.md with its measured parts as the records have them."""
    dialogues = (_read(f"{name}_ml-100k") for name in DIALOGUES)
    text = fill(text, "results", results_part(_read("one_turn_ml-100k")))
    text = fill(text, "bench", bench_part(_read("bench")))
    full_size = full_size_part(_read("one_turn_ml-1m"), _read("from_nothing_ml-1m"))
    text = fill(text, "full size", full_size)
    text = fill(text, "dialogues", dialogues_part(*dialogues))
    return fill(text, "notebooks", notebooks_part())


def _read(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return record


def draw(path: Path) -> None:
    """The picture of the results: one panel a level, one bar a system, with intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from latentcrs_utils.plots import PALETTE

    summary = pl.DataFrame(_read("one_turn_ml-100k")["masked"]).filter(phrasing=UNSEEN)
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
    """Rewrite README.md and the picture."""
    target = ROOT / "README.md"
    target.write_text(readme(target.read_text(encoding="utf-8")), encoding="utf-8")
    draw(PICTURE)
    print(f"README.md and {PICTURE.relative_to(ROOT).as_posix()} are up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
