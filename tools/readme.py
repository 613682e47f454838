"""Writes the parts of README.md that are measured: the results, their picture, the notebooks."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import nbformat
import polars as pl

from course.chapters import CHAPTERS
from latentcrs_utils.evaluation.one_turn import LEVELS, SEEN, UNSEEN, level_table

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.readme_bench import bench_part
from tools.readme_dialogues import dialogues_part
from tools.readme_full_size import full_size_part

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "results" / "bench.json"
FULL_SIZE = ROOT / "results" / "one_turn_ml-1m.json"
FROM_NOTHING = ROOT / "results" / "from_nothing_ml-1m.json"
RESULTS = ROOT / "results" / "one_turn_ml-100k.json"
DIALOGUES = tuple(
    ROOT / "results" / f"{name}_ml-100k.json"
    for name in (
        "multi_turn",
        "seeds",
        "multi_turn_variants",
        "cold_start",
        "extraction",
        "reranking",
    )
)
PICTURE = ROOT / "results" / "one_turn_ml-100k.png"
OURS = ("LatentCRS", "LatentCRS+")
TALKERS = ("backbone alone", "backbone + lexicon filter", "fusion without intents", *OURS)


def results_part(recorded: dict) -> str:
    """The README's results: a picture, the table of NDCG@20, and how to read it."""
    summary, unmasked = pl.DataFrame(recorded["masked"]), pl.DataFrame(recorded["unmasked"])
    n_seeds = len(recorded["seeds"])
    lines = [
        "![NDCG@20 of every system at four levels of language]"
        f"({PICTURE.relative_to(ROOT).as_posix()})",
        "",
        f"One-turn recommendation on MovieLens-100k: all {recorded['data']['users']} test users, "
        f"all {recorded['data']['items']:,} films ranked, history masked, **NDCG@20**, mean of "
        f"{n_seeds} seeds, in phrasings that no training text used "
        "(in brackets: phrasings of the training texts).",
        "",
        "| | " + " | ".join(LEVELS) + " |",
        "|---|" + "---:|" * len(LEVELS),
    ]
    unseen = level_table(summary, phrasing=UNSEEN)
    seen = {row["system"]: row for row in level_table(summary, phrasing=SEEN).iter_rows(named=True)}
    best = {level: unseen[level].max() for level in LEVELS}
    for row in unseen.iter_rows(named=True):
        name = f"**{row['system']}**" if row["system"] in OURS else row["system"]
        cells = []
        for level in LEVELS:
            value = f"{row[level]:.3f}"
            value = f"**{value}**" if row[level] == best[level] else value
            cells.append(f"{value} ({seen[row['system']][level]:.3f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    half = ((summary["high"] - summary["low"]) / 2).max()
    spread = summary["seed_spread"].max()
    plus = unmasked.filter(phrasing=UNSEEN, system="LatentCRS+", level="plain")["NDCG@20"].item()
    lines += [
        "",
        f"95 % bootstrap intervals over users reach at most ±{half:.3f}; a system's seeds differ "
        f"by at most {spread:.3f}. With seen films left in the ranking (the paper's code), "
        f"`LatentCRS+` at `plain` has {plus:.3f}. The texts come from this course's simulator, not "
        "the paper's, so compare rows, not papers. Recall@5, NDCG@5 and Recall@20 are in "
        f"`{RESULTS.relative_to(ROOT).as_posix()}`, made on {recorded['date']} by `make results`.",
        "",
        *turns_part(pl.DataFrame(recorded["by_turns"])),
    ]
    return "\n".join(lines)


def turns_part(by_turns: pl.DataFrame) -> list[str]:
    """Lines of the table by number of messages."""
    table = level_table(by_turns.filter(pl.col("system").is_in(TALKERS)), phrasing=UNSEEN)
    half = ((by_turns["high"] - by_turns["low"]) / 2).max()
    return [
        "After one to five messages (NDCG@20, unseen phrasing, levels mixed, about "
        f"{by_turns['n'].min()} users a column, so intervals reach ±{half:.3f}):",
        "",
        "| messages | " + " | ".join(table.columns[1:]) + " |",
        "|---|" + "---:|" * len(table.columns[1:]),
        *(
            f"| {row[0]} | " + " | ".join(f"{value:.3f}" for value in row[1:]) + " |"
            for row in table.iter_rows()
        ),
    ]


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
    text = fill(text, "results", results_part(_read(RESULTS)))
    text = fill(text, "bench", bench_part(_read(BENCH)))
    text = fill(text, "full size", full_size_part(_read(FULL_SIZE), _read(FROM_NOTHING)))
    text = fill(text, "dialogues", dialogues_part(*map(_read, DIALOGUES)))
    return fill(text, "notebooks", notebooks_part())


def _read(record: Path) -> dict:
    return json.loads(record.read_text(encoding="utf-8"))


def draw(path: Path) -> None:
    """The picture of the results: one panel a level, one bar a system, with intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from latentcrs_utils.plots import PALETTE

    recorded = json.loads(RESULTS.read_text(encoding="utf-8"))
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
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
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
