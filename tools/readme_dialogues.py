"""The part of README.md about whole dialogues, written from the records of the conversation."""

from __future__ import annotations

from typing import Any

import polars as pl

OURS = ("LatentCRS", "LatentCRS+", "LatentCRS+ F", "LatentCRS+ V")
RIVAL = "fusion without intents"
READERS = ("lexicon", "model, evidence", "both", "model")


def dialogues_part(
    multi_turn: dict[str, Any],
    seeds: dict[str, Any],
    variants: dict[str, Any],
    cold_start: dict[str, Any],
    extraction: dict[str, Any],
    reranking: dict[str, Any],
) -> str:
    """Success by level and seed, the variants, cold start, what F reads, and what a turn costs.

    Args:
        multi_turn, seeds, variants, cold_start: what the command
            `python -m experiments.multi_turn` wrote: all users at all levels; one
            level with several seeds; fewer users with the variant that asks a language model; one
            level with the histories cut.
        extraction: what `python -m experiments.extraction` wrote.
        reranking: what `python -m experiments.reranking` wrote.
    """
    return "\n".join(
        [
            *levels_part(multi_turn),
            "",
            *seeds_part(seeds),
            "",
            *variants_part(variants),
            "",
            *one_turn_part(reranking),
            "",
            *cold_part(cold_start),
            "",
            *extraction_part(extraction),
            "",
            *cost_part(multi_turn, variants),
        ]
    )


def levels_part(recorded: dict[str, Any]) -> list[str]:
    """S@5 and AT of every system at every level."""
    results = recorded["results"]
    names = [row["system"] for row in results[0]["systems"]]
    by_level = {
        result["level"]: {row["system"]: row for row in result["systems"]} for result in results
    }
    half = max((row["S@5_high"] - row["S@5_low"]) / 2 for r in results for row in r["systems"])
    lines = [
        f"Five turns of five films on MovieLens-100k: {recorded['users']} test users, "
        f"{seeds_of(recorded)}, template users of difficulty {results[0]['difficulty']}, phrasings "
        "that no training text used. **S@5**, how many found their film, and in brackets AT, after "
        "how many turns (a failure counts as five):",
        "",
        "| | " + " | ".join(by_level) + " |",
        "|---|" + "---:|" * len(by_level),
    ]
    best = {level: max(row["S@5"] for row in rows.values()) for level, rows in by_level.items()}
    for name in names:
        cells = []
        for level, rows in by_level.items():
            value = f"{rows[name]['S@5']:.3f}"
            value = f"**{value}**" if rows[name]["S@5"] == best[level] else value
            cells.append(f"{value} ({rows[name]['AT']:.2f})")
        lines.append(f"| {shown(name)} | " + " | ".join(cells) + " |")
    gaps = [f"{gap_to(rows[RIVAL])} at *{level}*" for level, rows in by_level.items()]
    return [
        *lines,
        "",
        f"95 % bootstrap intervals over users reach at most ±{half:.3f}. `LatentCRS+` minus the "
        f"fusion without intents, the same users: {', '.join(gaps)}. {made(recorded)}",
    ]


def seeds_part(recorded: dict[str, Any]) -> list[str]:
    """One level with several seeds, and the gaps that a claim depends on."""
    (result,) = recorded["results"]
    rows = {row["system"]: row for row in result["systems"]}
    values = ", ".join(f"{shown(name)} {row['S@5']:.3f}" for name, row in rows.items())
    gaps = ", ".join(f"to {name} {gap_to(rows[name])}" for name in rows if name != "LatentCRS+")
    return [
        f"The same at *{result['level']}*, {seeds_of(recorded)} of models and users, S@5: "
        f"{values}. "
        f"Distance of `LatentCRS+`, with its interval over users: {gaps}. {made(recorded)}"
    ]


def variants_part(recorded: dict[str, Any]) -> list[str]:
    """S@3, S@5 and AT of few users, with the variant that asks a language model in every turn."""
    lines = [
        f"With V, which asks a language model in every turn, {recorded['users']} of these users "
        "(S@5 with its 95 % interval, AT):",
        "",
        "| users and words | system | S@3 | S@5 | AT |",
        "|---|---|---:|---:|---:|",
    ]
    for result in recorded["results"]:
        for row in result["systems"]:
            lines.append(
                f"| {result['difficulty']}, {result['level']} | {shown(row['system'])} | "
                f"{row['S@3']:.3f} | {row['S@5']:.3f} ({row['S@5_low']:.3f} to "
                f"{row['S@5_high']:.3f}) | {row['AT']:.2f} |"
            )
    return [*lines, "", made(recorded)]


def one_turn_part(recorded: dict[str, Any]) -> list[str]:
    """Variants F and V in one turn: NDCG@20 beside B and the plain filter."""
    rival, tested, best = "backbone + lexicon filter", recorded["test"], recorded["validation"]
    lines = [
        f"The variants in one turn, NDCG@20: F beside B and the plain filter on all "
        f"{recorded['filter'][0]['n']} test users, V minus B on {tested['rows'][0]['n']} of them "
        f"(weight {tested['weight']} and {tested['n_candidates']} candidates, the best of "
        f"{len(best['rows'])} choices on {best['n']} validation users, where it is "
        f"{best['best']['NDCG@20_gap']:+.4f} from B):",
        "",
        "| | B | F | plain filter | F minus plain filter | V minus B |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row, v in zip(recorded["filter"], tested["rows"], strict=True):
        values = (row["LatentCRS+"], row["LatentCRS+ F"], row[rival])
        cells = [f"{value['NDCG@20']:.3f}" for value in values]
        cells += [interval(row[f"to {rival}"], "NDCG@20"), interval(v, "NDCG@20")]
        lines.append(f"| {row['level']} | " + " | ".join(cells) + " |")
    return [*lines, "", made(recorded)]


def cold_part(recorded: dict[str, Any]) -> list[str]:
    """S@5 against the number of known films."""
    results = recorded["results"]
    names = [row["system"] for row in results[0]["systems"]]
    lines = [
        f"Cold start: S@5 when only the last films of a history are known ({recorded['users']} "
        f"users, *{results[0]['level']}*):",
        "",
        "| films known | " + " | ".join(str(result["known"]) for result in results) + " |",
        "|---|" + "---:|" * len(results),
    ]
    for name in names:
        values = [
            next(row["S@5"] for row in result["systems"] if row["system"] == name)
            for result in results
        ]
        lines.append(f"| {shown(name)} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    return [*lines, "", made(recorded)]


def extraction_part(recorded: dict[str, Any]) -> list[str]:
    """Precision and recall of what F reads, by reader and level."""
    rows = pl.DataFrame(recorded["rows"], infer_schema_length=None)
    if "phrasing" in rows.columns and rows["phrasing"].n_unique() > 1:
        rows = rows.filter(phrasing="test")
    levels = rows["level"].unique(maintain_order=True).to_list()
    lines = [
        "What variant F reads out of single messages whose truth is known: precision / recall of "
        f"hard requirements in unseen phrasings (model: {recorded['model']}; – where nothing was "
        "read, or nothing was to be read):",
        "",
        "| reader | " + " | ".join(levels) + " |",
        "|---|" + "---:|" * len(levels),
    ]
    for reader in READERS:
        cells = []
        for level in levels:
            row = rows.filter(reader=reader, level=level).row(0, named=True)
            cells.append(f"{share(row['precision'])} / {share(row['recall'])}")
        lines.append(f"| {reader} | " + " | ".join(cells) + " |")
    return [*lines, "", made(recorded)]


def cost_part(*records: dict[str, Any]) -> list[str]:
    """Tokens and seconds of choosing the items of one turn, by system, at one level."""
    lines = [
        "What choosing the films of a turn costs (tokens by the language model's own tokenizer; "
        "an embedding pass counts as one new token; seconds on the machine of the record):",
        "",
        "| | level | read | written | seconds |",
        "|---|---|---:|---:|---:|",
    ]
    seen: set[str] = set()
    for recorded in records:
        result = recorded["results"][0]
        for row in result["ledger"]:
            if row["purpose"] != "recommending" or row["system"] in seen:
                continue
            seen.add(row["system"])
            lines.append(
                f"| {shown(row['system'])} | {result['level']} | {row['prompt_tokens_a_turn']:.1f} "
                f"| {row['completion_tokens_a_turn']:.1f} | {row['seconds_a_turn']:.3f} |"
            )
    return lines


def gap_to(row: dict[str, Any]) -> str:
    """S@5 of `LatentCRS+` minus that of a row, with its 95 % interval."""
    low, high = 0.0 - row["S@5_gap_high"], 0.0 - row["S@5_gap_low"]
    return f"{0.0 - row['S@5_gap']:+.3f} ({low:+.3f} to {high:+.3f})"


def interval(row: dict[str, Any], metric: str) -> str:
    """A recorded gap with its 95 % interval."""
    low, high = row[f"{metric}_gap_low"], row[f"{metric}_gap_high"]
    return f"{row[f'{metric}_gap']:+.3f} ({low:+.3f} to {high:+.3f})"


def shown(system: str) -> str:
    """A system's name, ours in bold."""
    return f"**{system}**" if system in OURS else system


def share(value: float | None) -> str:
    """Two digits, a dash for what is not defined."""
    return "–" if value is None else f"{value:.2f}"


def seeds_of(recorded: dict[str, Any]) -> str:
    """How many seeds a record has."""
    n = len(recorded["seeds"])
    return f"mean of {n} seeds" if n > 1 else "one seed"


def made(recorded: dict[str, Any]) -> str:
    """Which command made a record, and when."""
    return f"`{recorded['command']}`, {recorded['date']}."
