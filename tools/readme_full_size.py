"""The part of README.md about MovieLens-1M whole, written from results/one_turn_ml-1m.json."""

from __future__ import annotations

from typing import Any

import polars as pl

from latentcrs_utils.evaluation.one_turn import LEVELS, METRICS, UNSEEN
from latentcrs_utils.evaluation.published import printed

OURS = ("LatentCRS", "LatentCRS+")
SHOWN = ("popularity", "backbone alone", "backbone + lexicon filter", "fusion without intents")
PAPER = "LatentCRS_B"


def full_size_part(recorded: dict[str, Any], from_nothing: dict[str, Any]) -> str:
    """Two tables and a sentence: NDCG@20 at the four levels, the paper's four metrics, the time.

    Args:
        recorded: what `python -m latentcrs_utils.run --data ml-1m` wrote.
        from_nothing: what the same command wrote for one seed, begun with an empty cache.
    """
    summary = pl.DataFrame(recorded["masked"]).filter(phrasing=UNSEEN)
    n_seeds, data = len(recorded["seeds"]), recorded["data"]
    half = ((summary["high"] - summary["low"]) / 2).max()
    lines = [
        f"MovieLens-1M whole: all {data['users']:,} test users, all {data['items']:,} films "
        f"ranked, history masked, phrasings that no training text used; **NDCG@20**, "
        f"mean of {n_seeds} seeds (± half of what the seeds differ by):",
        "",
        "| | " + " | ".join(LEVELS) + " |",
        "|---|" + "---:|" * len(LEVELS),
        *(level_row(summary, system) for system in (*SHOWN, *OURS)),
        "",
        f"95 % bootstrap intervals over users reach at most ±{half:.3f}. The paper prints one row "
        "for MovieLens-1M, with utterances of another simulator (a large language model that is "
        "told the film), so the rows below stand beside each other and are no race:",
        "",
        "| | words | " + " | ".join(METRICS) + " |",
        "|---|---|" + "---:|" * len(METRICS),
        paper_row(),
        *(
            metric_row(summary, system, level)
            for level in ("plain", "paraphrased", "by example", "vague")
            for system in ("LatentCRS", "LatentCRS+")
        ),
        metric_row(summary, "backbone alone", "plain", words="none"),
        "",
        f"`{recorded['command']}`, {recorded['date']}, {recorded['machine']}; all of it is in "
        "`results/one_turn_ml-1m.json`.",
        "",
        time_sentence(from_nothing),
    ]
    return "\n".join(lines)


def time_sentence(from_nothing: dict[str, Any]) -> str:
    """What the whole path took from an empty cache, and which stage took how much of it."""
    steps = from_nothing["steps"]
    total = sum(row["seconds"] for row in steps)
    shown = sorted(steps, key=lambda row: -row["seconds"])[:6]
    parts = [f"{row['step'].split(' (')[0]} {minutes(row['seconds'])}" for row in shown]
    return (
        f"From an empty cache the same path took {minutes(total)} for one seed, download, training "
        f"and test included ({from_nothing['texts']['distinct']:,} distinct sentences, "
        f"{from_nothing['machine']}, other work beside it, {from_nothing['date']}): "
        f"{'; '.join(parts)}; the rest {minutes(total - sum(row['seconds'] for row in shown))}. "
        f"`{from_nothing['command']}`; all steps are in `results/from_nothing_ml-1m.json`."
    )


def minutes(seconds: float) -> str:
    """Seconds in words: minutes with one digit."""
    return f"{seconds / 60:.1f} min"


def level_row(summary: pl.DataFrame, system: str) -> str:
    """One system as a row of the first table; the best of a column is bold."""
    cells = []
    for level in LEVELS:
        rows = summary.filter(level=level)
        row = rows.filter(system=system).row(0, named=True)
        value = f"{row['NDCG@20']:.3f}"
        value = f"**{value}**" if row["NDCG@20"] == rows["NDCG@20"].max() else value
        cells.append(f"{value} ± {row['seed_spread'] / 2:.3f}")
    return f"| {bold(system)} | " + " | ".join(cells) + " |"


def metric_row(summary: pl.DataFrame, system: str, level: str, words: str | None = None) -> str:
    """One system at one level as a row of the second table."""
    row = summary.filter(level=level, system=system).row(0, named=True)
    cells = " | ".join(f"{row[metric]:.4f}" for metric in METRICS)
    return f"| {bold(system)} | {words or level} | {cells} |"


def paper_row() -> str:
    """The paper's own row (Table 2)."""
    metrics = printed(2, "ml-1m", PAPER).metrics
    return (
        f"| {PAPER}, as printed | the paper's | "
        + " | ".join(f"{metrics[metric]:.4f}" for metric in METRICS)
        + " |"
    )


def bold(system: str) -> str:
    """Ours in bold."""
    return f"**{system}**" if system in OURS else system
