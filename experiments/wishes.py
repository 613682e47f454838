"""Which wishes of ``data/wishes.toml`` each policy of the chat meets, for three people."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.evaluation.one_turn import fit_all
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.evaluation.wishes import read_wishes, score
from latentcrs_utils.run import prepare

WISHES = Path(__file__).resolve().parents[1] / "data" / "wishes.toml"
PEOPLE = (42, 13, None)  # None: a stranger
MEASURES = ("satisfied", "answered", "admitted")


def main(arguments: Sequence[str] | None = None) -> None:
    """Say every wish to every policy for every person; print and record how they are met."""
    command = Command("experiments.wishes", __doc__)
    options = command.read(arguments)
    data, language = prepare(command.say, options.data, "unseen")
    model = fit_all(data, language, seed=0, say=command.say).latentcrs_plus
    command.say("Saying the wishes")
    rows: list[dict[str, Any]] = []
    for wish in read_wishes(WISHES, data):
        for policy in ("B", "F"):
            for user in PEOPLE:
                chat = Conversation(model, user=user, chat_model=None, policy=policy)
                turn = [chat.say(message) for message in wish.messages][-1]
                rows.append({"kind": wish.kind, "policy": policy, "wish": wish.name, "user": user})
                rows[-1] |= asdict(score(turn, wish, data))
                rows[-1]["offered"] = len(turn.items)
    found = pl.DataFrame(rows, infer_schema_length=None)
    means = [pl.col(m).cast(pl.Float64).mean() for m in MEASURES]
    table = found.group_by("kind", "policy", maintain_order=True).agg(*means)
    total = found.group_by("policy", maintain_order=True).agg(*means)
    with pl.Config(tbl_rows=-1):
        print(table, total)
    content = {"data": sizes(data), "table": table.to_dicts(), "total": total.to_dicts()}
    command.record(options.record, content | {"wishes": rows})


if __name__ == "__main__":
    main()
