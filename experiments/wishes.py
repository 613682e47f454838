"""What each policy of the chat makes of the wishes in `data/wishes.toml`, for three people, and of
what validation users say first: by this the policy of a new conversation was chosen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl

from latentcrs_utils.behavior.pretraining import pretrain
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import PolicyName
from latentcrs_utils.em.model import LatentCRS, fit_em
from latentcrs_utils.evaluation.metrics import metric_values
from latentcrs_utils.evaluation.one_turn import one_turn_cases
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.evaluation.wishes import read_wishes, score
from latentcrs_utils.intents import find_anchors
from latentcrs_utils.run import prepare

WISHES = Path(__file__).resolve().parents[1] / "data" / "wishes.toml"
PEOPLE = (42, 13, None)  # None: a stranger
MEASURES = ("satisfied", "answered", "admitted", "Recall@5", "NDCG@20", "seconds")


def say_wishes(model: LatentCRS, policy: PolicyName) -> Iterator[dict[str, Any]]:
    """Yield how each wish of each person is met."""
    for user in PEOPLE:
        chat = Conversation(model, user=user, policy=policy)
        for wish in read_wishes(WISHES, model.data):
            chat.events = ()
            turn = [chat.say(message) for message in wish.messages][-1]
            row: dict[str, Any] = {
                "part": "wishes",
                "kind": wish.kind,
                "policy": policy,
                "wish": wish.name,
            }
            row |= {"user": user, "offered": len(turn.items), "seconds": sum(turn.seconds.values())}
            yield row | asdict(score(turn, wish, model.data))


def first_messages(model: LatentCRS, policy: PolicyName, users: slice) -> Iterator[dict[str, Any]]:
    """Yield at which place the chat offers what a validation user's first message is about."""
    cases = one_turn_cases(model.data, model.backbone, model.language, "valid").take(users)
    asked = cases.instances
    for n, (text, level) in enumerate(zip(cases.texts, cases.frame["level"], strict=True)):
        history = [*map(int, asked.histories[n])]
        turn = Conversation(model, history=history, policy=policy, n_items=20).say(text)
        rank = np.array(
            [21, *(r for r, i in enumerate(turn.items, 1) if i.item == asked.targets[n])]
        )[-1:]
        row = {
            "part": "valid",
            "kind": level,
            "policy": policy,
            "seconds": sum(turn.seconds.values()),
        }
        yield row | {name: float(metric_values(rank, name)[0]) for name in ("Recall@5", "NDCG@20")}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print and record how well every policy does."""
    command = Command("experiments.wishes", __doc__)
    command.parser.add_argument("--policies", nargs="+", default=get_args(PolicyName))
    command.parser.add_argument("--users", type=int, help="of the validation; default: all")
    options = command.read(arguments)
    data, language = prepare(command.say, options.data, "unseen")
    backbone = pretrain(data)
    model, rows = fit_em(data, backbone, find_anchors(backbone, data), language), list[Any]()
    for policy in options.policies:
        command.say(f"Policy {policy}")
        rows += [*say_wishes(model, policy), *first_messages(model, policy, slice(options.users))]
    found, means = pl.DataFrame(rows, infer_schema_length=None), pl.col(MEASURES).cast(float).mean()
    table = found.group_by("part", "kind", "policy", maintain_order=True).agg(means)
    total = found.group_by("part", "policy", maintain_order=True).agg(means)
    with pl.Config(tbl_rows=-1):
        print(table, total)
    tables = {"table": table.to_dicts(), "total": total.to_dicts()}
    command.record(options.record, {"data": sizes(data), **tables, "rows": rows})


if __name__ == "__main__":
    main()
