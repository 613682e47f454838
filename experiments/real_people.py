"""What real people said (ReDial): every one-turn system, strangers and people with a history."""

from __future__ import annotations

from typing import Any

from latentcrs_utils.evaluation.one_turn import evaluate, fit_all, scorers
from latentcrs_utils.evaluation.real_people import (
    HALVES,
    PEOPLE_METRICS,
    describe_people,
    real_people_cases,
)
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.run import prepare

REFERENCE = "LatentCRS+"


def main(arguments: list[str] | None = None) -> None:
    """Rank for every seed; after each the record holds what is known."""
    command = Command("experiments.real_people", __doc__, seeds=True)
    options = command.read(arguments)
    data, language = prepare(command.say, options.data, "all")
    ranks: dict[str, list[Any]] = {half: [] for half in HALVES}
    for number, seed in enumerate(options.seeds, start=1):
        fitted = fit_all(data, language, seed=seed, say=command.say)
        command.say(f"Ranking for real people (seed {seed})")
        tables: dict[str, Any] = {}
        for half in HALVES:
            cases = real_people_cases(data, fitted.backbone, language, half)
            ranks[half].append(evaluate(cases, scorers(fitted)))
            tables[half] = describe_people(cases, ranks[half], REFERENCE)
        content = {
            "seeds": options.seeds[:number], "data": sizes(data), "reference": REFERENCE,
            "language_model": language.embedder.name,
            **{half: table.to_dicts() for half, table in tables.items()},
        }  # fmt: skip
        command.record(options.record, content)
    for row in tables["report"].iter_rows(named=True):
        values = "".join(f"{row[name]:11.3f}" for name in PEOPLE_METRICS)
        print(f"{row['people']:13}{row['system']:27}{row['n']:4}{values}")


if __name__ == "__main__":
    main()
