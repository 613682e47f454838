"""The part of README.md about whole dialogues, written from the records of the conversation."""

from __future__ import annotations

from typing import Any

import polars as pl

from tools.readme_tables import interval, made, named, strong, table

RIVAL = "fusion without intents"
READERS = ("lexicon", "model, quoted", "both", "model")


def dialogues_part(
    multi_turn: dict[str, Any],
    seeds: dict[str, Any],
    variants: dict[str, Any],
    cold_start: dict[str, Any],
    extraction: dict[str, Any],
    reranking: dict[str, Any],
) -> str:
    """Success by level and seed, the policies, cold start, what F reads, and what a turn costs.

    Args:
        multi_turn, seeds, variants, cold_start: what the command
            `python -m experiments.multi_turn` wrote: all users at all levels; one
            level with several seeds; fewer users with the policy that asks a language model; one
            level with the histories cut.
        extraction: what `python -m experiments.extraction` wrote.
        reranking: what `python -m experiments.reranking` wrote.
    """
    parts = (
        levels_part(multi_turn),
        seeds_part(seeds),
        policies_part(variants),
        one_turn_part(reranking),
        cold_part(cold_start),
        extraction_part(extraction),
        cost_part(multi_turn, variants),
    )
    return "\n\n".join("\n".join(part) for part in parts)


def levels_part(recorded: dict[str, Any]) -> list[str]:
    """S@5 and AT of every system at every level."""
    results = recorded["results"]
    names = [row["system"] for row in results[0]["systems"]]
    by_level = {
        result["level"]: {row["system"]: row for row in result["systems"]} for result in results
    }
    half = max((row["S@5_high"] - row["S@5_low"]) / 2 for r in results for row in r["systems"])
    best = {level: max(row["S@5"] for row in rows.values()) for level, rows in by_level.items()}
    cells = (
        [
            named(name),
            *(
                f"{strong(rows[name]['S@5'], best[level])} ({rows[name]['AT']:.2f})"
                for level, rows in by_level.items()
            ),
        ]
        for name in names
    )
    lines = [
        f"Five turns of five films on MovieLens-100k: {recorded['users']} test users, "
        f"{seeds_of(recorded)}, template users of difficulty {results[0]['difficulty']}, phrasings "
        "that no training text used. **S@5**, how many found their film, and in brackets AT, after "
        "how many turns (a failure counts as five):",
        "",
        *table(["", *by_level], cells),
    ]
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
    values = ", ".join(f"{named(name)} {row['S@5']:.3f}" for name, row in rows.items())
    gaps = ", ".join(f"to {name} {gap_to(rows[name])}" for name in rows if name != "LatentCRS+")
    return [
        f"The same at *{result['level']}*, {seeds_of(recorded)} of models and users, S@5: "
        f"{values}. "
        f"Distance of `LatentCRS+`, with its interval over users: {gaps}. {made(recorded)}"
    ]


def policies_part(recorded: dict[str, Any]) -> list[str]:
    """S@3, S@5 and AT of few users, with the policy that asks a language model in every turn."""
    rows = (
        [
            f"{result['difficulty']}, {result['level']}",
            named(row["system"]),
            f"{row['S@3']:.3f}",
            f"{row['S@5']:.3f} ({row['S@5_low']:.3f} to {row['S@5_high']:.3f})",
            f"{row['AT']:.2f}",
        ]
        for result in recorded["results"]
        for row in result["systems"]
    )
    return [
        f"With V, which asks a language model in every turn, {recorded['users']} of these users "
        "(S@5 with its 95 % interval, AT):",
        "",
        *table(["users and words", "system", "S@3", "S@5", "AT"], rows, left=2),
        "",
        made(recorded),
    ]


def one_turn_part(recorded: dict[str, Any]) -> list[str]:
    """Policy F and V in one turn: NDCG@20 of F, B and the lexicon filter."""
    rival, tested, best = "backbone + lexicon filter", recorded["test"], recorded["validation"]
    rows = []
    for row, v in zip(recorded["filter"], tested["rows"], strict=True):
        values = (row["LatentCRS+"], row["LatentCRS+ F"], row[rival])
        cells = [f"{value['NDCG@20']:.3f}" for value in values]
        rows.append([row["level"], *cells, gap(row[f"to {rival}"], "NDCG@20"), gap(v, "NDCG@20")])
    return [
        f"The policies in one turn, NDCG@20: F, B and the lexicon filter on all "
        f"{recorded['filter'][0]['n']} test users, V minus B on {tested['rows'][0]['n']} of them "
        f"(weight {tested['weight']} and {tested['n_candidates']} candidates, the best of "
        f"{len(best['rows'])} choices on {best['n']} validation users, where it is "
        f"{best['best']['NDCG@20_gap']:+.4f} from B):",
        "",
        *table(["", "B", "F", "lexicon filter", "F minus lexicon filter", "V minus B"], rows),
        "",
        made(recorded),
    ]


def cold_part(recorded: dict[str, Any]) -> list[str]:
    """S@5 against the number of known films."""
    results = recorded["results"]
    names = [row["system"] for row in results[0]["systems"]]
    by_length = [{row["system"]: row["S@5"] for row in result["systems"]} for result in results]
    rows = ([named(name), *(f"{found[name]:.3f}" for found in by_length)] for name in names)
    return [
        f"Cold start: S@5 when only the last films of a history are known ({recorded['users']} "
        f"users, *{results[0]['level']}*):",
        "",
        *table(["films known", *(str(result["known"]) for result in results)], rows),
        "",
        made(recorded),
    ]


def extraction_part(recorded: dict[str, Any]) -> list[str]:
    """Precision and recall of what F reads, by reader and level."""
    rows = pl.DataFrame(recorded["rows"], infer_schema_length=None)
    if "phrasing" in rows.columns and rows["phrasing"].n_unique() > 1:
        rows = rows.filter(phrasing="test")
    levels = rows["level"].unique(maintain_order=True).to_list()
    found = {(row["reader"], row["level"]): row for row in rows.iter_rows(named=True)}
    cells = (
        [
            reader,
            *(
                " / ".join(share(found[reader, level][what]) for what in ("precision", "recall"))
                for level in levels
            ),
        ]
        for reader in READERS
    )
    return [
        "What policy F reads out of single messages whose truth is known: precision / recall of "
        f"hard requirements in unseen phrasings (model: {recorded['model']}; – where nothing was "
        "read, or nothing was to be read):",
        "",
        *table(["reader", *levels], cells),
        "",
        made(recorded),
    ]


def cost_part(*records: dict[str, Any]) -> list[str]:
    """Tokens and seconds of choosing the items of one turn, by system, at one level."""
    rows = {}
    for recorded in records:
        result = recorded["results"][0]
        for row in result["ledger"]:
            if row["purpose"] == "recommending":
                cells = [f"{row[f'{what}_tokens_a_turn']:.1f}" for what in ("prompt", "completion")]
                cells = [result["level"], *cells, f"{row['seconds_a_turn']:.3f}"]
                rows.setdefault(row["system"], [named(row["system"]), *cells])
    return [
        "What choosing the films of a turn costs (tokens by the language model's own tokenizer; "
        "an embedding pass counts as one new token; seconds on the machine of the record):",
        "",
        *table(["", "level", "read", "written", "seconds"], rows.values(), left=2),
    ]


def gap_to(row: dict[str, Any]) -> str:
    """S@5 of `LatentCRS+` minus that of a row, with its 95 % interval."""
    mean, low, high = (0.0 - row[f"S@5_gap{end}"] for end in ("", "_high", "_low"))
    return interval(mean, low, high)


def gap(row: dict[str, Any], metric: str) -> str:
    """A recorded gap with its 95 % interval."""
    return interval(*(row[f"{metric}_gap{end}"] for end in ("", "_low", "_high")))


def share(value: float | None) -> str:
    """Two digits, a dash for what is not defined."""
    return "–" if value is None else f"{value:.2f}"


def seeds_of(recorded: dict[str, Any]) -> str:
    """How many seeds a record has."""
    n = len(recorded["seeds"])
    return f"mean of {n} seeds" if n > 1 else "one seed"
