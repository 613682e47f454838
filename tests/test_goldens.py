"""The same values as before the code was moved: `goldens/values_ml-100k.json` holds them.

Ids, strings, numbers and hashes, nothing of how the code is organised: the k-core and the splits,
the utterance table, vectors of texts, the verdicts of the guard.
`python tests/test_goldens.py --write [SECTION ...]` records anew.
"""

import hashlib
import json
import re
import sys
from collections import ChainMap
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from latentcrs_utils.conversation.guards import ReplyGuard
from latentcrs_utils.conversation.reply import INSTRUCTIONS
from latentcrs_utils.conversation.turn import describe
from latentcrs_utils.data.loading import load_csv, load_dataset
from latentcrs_utils.data.preprocess import random_cuts
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.synthetic import synthetic_world
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.simulation.utterances import simulate_utterances

FILE = Path(__file__).with_name("goldens") / "values_ml-100k.json"
EXAMPLE = Path(__file__).parents[1] / "data" / "example"
TOLERANCE = 0.0015  # of numbers recorded to three decimals
COLUMNS = ["split", "user", "cut", "target", "level", "phrasing", "turns", "text", "conditions"]
TEXTS = ("a comedy from the 1980s", "no horror, please", "Something like Alien.", "très drôle ☂")
ASKED = "something dark and funny"
DRAFTS = (
    "Fargo is a dark and funny choice, and Alien comes next.",
    "How about Toy Story, which is fun for children?",
    "Fargo is a fine choice, but The Godfather is even better.",
    "Answer in one friendly sentence that takes up the wish.",
    "Alien is a romance from space.",
    "Toy Story came out in 1962.",
    "You will like Alien by Ridley Scott.",
    "I can help with that.",
    "System: Fargo fits.",
    "Fargo and Fargo.",
    ASKED,
    "",
)


def digest(value: Any) -> str:
    """The sha256 of JSON values; neither types of numbers nor names of columns enter into it."""
    text = json.dumps(value, default=lambda array: array.tolist())
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def data_set(name: str = "ml-100k") -> Dataset:
    if name == "example":
        return load_csv(EXAMPLE / "interactions.csv", EXAMPLE / "items.csv", name=name, k_core=3)
    return load_dataset(name)


def data_sets() -> dict[str, Any]:
    """The k-core and the splits, and the synthetic world at seed 0."""
    found: dict[str, Any] = {}
    for name in ("ml-100k", "synthetic", "example"):
        data = data_set(name)
        tables = data.interactions.offsets, data.interactions.flat, data.items.rows()
        found[name] = {
            "passes": [[p.users, p.items, p.actions] for p in data.counts["passes"]],
            "fingerprint": data.fingerprint,
            "offsets, actions, items": [digest(table) for table in tables],
            "users": digest(data.users.rows()),
            "random cuts": [*map(digest, random_cuts(data, 3, seed=0))],
        }  # fmt: skip
        for split in ("train", "valid", "test"):
            rows = data.histories(split)
            parts = rows.offsets, rows.flat, data.targets(split)
            found[name][split] = [*map(digest, parts)]
    world = synthetic_world(seed=0)
    tables = world.source.ratings, world.source.items, world.item_intents, world.steps
    return found | {"world": [digest(table.rows()) for table in tables]}


def utterances() -> dict[str, Any]:
    """All rows in their order, and each column, so that a difference can be placed."""
    found = {}
    for name in ("ml-100k", "example"):
        frame = simulate_utterances(data_set(name), seed=0).frame.select(COLUMNS)
        columns = {column: digest(frame[column].to_list()) for column in COLUMNS}
        found[name] = {"size": len(frame), "rows": digest(frame.rows())} | columns
    return found


def embeddings() -> dict[str, Any]:
    """Tokens and some values of vectors that are computed in float32, not read from the store."""
    embedder = Embedder(dtype="float32", reuse=False)
    vectors = embedder.embed(TEXTS, progress=False)
    return {
        "tokens": [embedder.token_ids(text) for text in TEXTS],
        "some values": [[round(float(x), 3) for x in v[:: len(v) // 8]] for v in vectors],
    }


def verdicts() -> dict[str, Any]:
    data, told = data_set(), INSTRUCTIONS.format(thing="film")
    items = [describe(data, data.titles.index(t)) for t in ("Fargo", "Toy Story", "Alien")]
    judge = ReplyGuard(data.titles).objection
    return {draft: judge(draft, items, message=ASKED, instructions=told) for draft in DRAFTS}


SECTIONS = dict(data=data_sets, utterances=utterances, embeddings=embeddings, guard=verdicts)


def computed(section: str) -> Any:
    torch.set_num_threads(1)
    return json.loads(json.dumps(SECTIONS[section]()))


def goldens() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def flat(values: Any, place: str = "") -> dict[str, Any]:
    """Place -> value of all that a JSON value holds."""
    if not isinstance(values, (dict, list)):
        return {place: values}
    parts = values.items() if isinstance(values, dict) else enumerate(values)
    inner = [flat(part, f"{place}/{name}") for name, part in parts]
    return dict(ChainMap({place: type(values).__name__}, *inner))


@pytest.mark.parametrize("section", SECTIONS)
def test_the_values_are_those_of_the_old_code(section: str) -> None:
    assert list(goldens()) == list(SECTIONS)
    old, new, differing = flat(goldens()[section]), flat(computed(section)), []
    for place in old | new:
        before, after = old.get(place, "absent"), new.get(place, "absent")
        if before != pytest.approx(after, abs=TOLERANCE):
            differing.append(f"{place}: {before!r} became {after!r}")
    assert not differing, "\n".join([f"{len(differing)} differences:", *differing[:30]])


def write(sections: Iterable[str]) -> None:
    known = (goldens() if FILE.exists() else {}) | {name: computed(name) for name in sections}
    text = json.dumps({name: known[name] for name in SECTIONS}, indent=1, ensure_ascii=False)
    # lists of numbers on one line
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: " ".join(found[0].split()), text)
    FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] != ["--write"]:
        sys.exit(__doc__)
    write(sys.argv[2:] or SECTIONS)
