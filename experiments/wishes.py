"""What each policy makes of the list of wishes, and of validation users' first messages."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl

from experiments import program
from latentcrs_utils import Conversation, LatentCRS, find_anchors, fit_em, pretrain
from latentcrs_utils.conversation.turn import PolicyName
from latentcrs_utils.evaluation.metrics import metric_values
from latentcrs_utils.evaluation.one_turn import one_turn_cases
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.evaluation.wishes import read_wishes, score
from latentcrs_utils.run import prepare

WISHES = Path(__file__).resolve().parents[1] / "data" / "wishes.toml"
PEOPLE = (42, 13, None)  # None: a stranger
MEASURES = ("satisfied", "answered", "admitted", "seconds", "Recall@5", "NDCG@20")


def say_wishes(model: LatentCRS, policy: PolicyName) -> Iterator[dict[str, Any]]:
    """Yield how each wish of each person is met; each is a conversation of its own."""
    for user in PEOPLE:
        chat = Conversation(model, user=user, policy=policy)
        for wish in read_wishes(WISHES, model.data):
            chat.events = ()
            turn = [chat.say(message) for message in wish.messages][-1]
            told = asdict(score(turn, wish, model.data)) | {"seconds": sum(turn.seconds.values())}
            yield {"kind": wish.kind, "wish": wish.name, "user": user, **told}


def first_messages(model: LatentCRS, policy: PolicyName) -> Iterator[dict[str, Any]]:
    """Yield at which place the chat offers what a validation user's first message is about."""
    cases = one_turn_cases(model.data, model.backbone, model.language, "valid")
    for n, level in enumerate(cases.frame["level"]):
        history = cases.instances.histories[n].tolist()
        turn = Conversation(model, history=history, policy=policy, n_items=20).say(cases.texts[n])
        target = cases.instances.targets[n]
        places = [r for r, item in enumerate(turn.items, 1) if item.item == target] or [21]
        values = {name: metric_values(np.array(places), name)[0] for name in MEASURES[-2:]}
        yield {"kind": f"first: {level}", **values}


@program
def main(arguments: Sequence[str] | None = None) -> None:
    """Print and record how well every policy does."""
    command, names, rows = Command("experiments.wishes", __doc__), get_args(PolicyName), list[Any]()
    command.parser.add_argument("--policies", nargs="+", default=names, choices=names)
    options = command.read(arguments)
    data, language = prepare(command.say, options.data, "unseen")
    backbone = pretrain(data)
    model = fit_em(data, backbone, find_anchors(backbone, data), language)
    for policy in options.policies:
        command.say(f"Policy {policy}")
        # V asks a language model about each of 20 items: `experiments.reranking` has its order
        first = first_messages(model, policy) if policy != "V" else ()
        rows += [{"policy": policy, **row} for row in (*say_wishes(model, policy), *first)]
    found = pl.DataFrame(rows, infer_schema_length=None)
    means = [pl.col(name).cast(pl.Float64).mean() for name in MEASURES if name in found.columns]
    table = found.group_by("kind", "policy", maintain_order=True).agg(means)
    total = found.group_by("policy", maintain_order=True).agg(means)
    with pl.Config(tbl_rows=-1, tbl_cols=-1):
        print(table, total)
    content = {"data": sizes(data), "table": table.to_dicts(), "total": total.to_dicts()}
    command.record(options.record, content | {"wishes": [row for row in rows if "wish" in row]})
