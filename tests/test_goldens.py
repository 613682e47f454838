"""The same values as before the code was moved: `goldens/values_ml-100k.json` holds them.

Ids, strings, numbers and hashes, nothing of how the code is organised. All from `models` on needs
the trained models and embeddings of the cache; where `models` differs too, it is another cache.
`python tests/test_goldens.py --write [SECTION ...]` records anew.
"""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from latentcrs_utils.conversation.guards import ReplyGuard
from latentcrs_utils.conversation.reply import INSTRUCTIONS
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import Turn, describe
from latentcrs_utils.data.loading import load_csv, load_dataset
from latentcrs_utils.data.preprocess import random_cuts
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.synthetic import synthetic_world
from latentcrs_utils.evaluation.metrics import metric_values
from latentcrs_utils.evaluation.multi_turn import Setting, converse, dialogue_systems, sample_users
from latentcrs_utils.evaluation.one_turn import (
    Fitted,
    evaluate,
    fit_all,
    one_turn_cases,
    scorers,
)
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.language.encoding import embed
from latentcrs_utils.simulation.utterances import Utterances, simulate_utterances
from latentcrs_utils.support.artifacts import fingerprint

FILE = Path(__file__).with_name("goldens") / "values_ml-100k.json"
EXAMPLE = Path(__file__).parents[1] / "data" / "example"
TOLERANCE = 0.0015  # of numbers recorded to three decimals
COLUMNS = ["split", "user", "cut", "target", "level", "phrasing", "turns", "text", "conditions"]
TEXTS = ("a comedy from the 1980s", "no horror, please", "Something like Alien.", "très drôle ☂")
MESSAGES = (
    "I feel like a comedy from the 1980s.",
    "Nothing with romance in it, please, and no musicals.",
    "Something like Blade Runner, but it has to be a western.",
)
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


def digest(value: Any, length: int = 64) -> str:
    """The sha256 of JSON values; neither types of numbers nor names of columns enter into it."""
    text = json.dumps(value, default=lambda array: array.tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 3) for value in values]


@cache
def data_set(name: str = "ml-100k") -> Dataset:
    if name == "example":
        return load_csv(EXAMPLE / "interactions.csv", EXAMPLE / "items.csv", name=name, k_core=3)
    return load_dataset(name)


@cache
def said(name: str = "ml-100k") -> Utterances:
    return simulate_utterances(data_set(name), seed=0)


@cache
def fitted() -> Fitted:
    return fit_all(data_set(), embed(said(), progress=False), seed=0)


@cache
def chats() -> dict[str, Conversation]:
    """One conversation a policy, with clicks; only V has a language model, the local one."""
    model, talks = fitted().latentcrs_plus, {}
    user = 42 if "42" in model.data.users["raw_user"] else model.data.users["raw_user"][0]
    for policy, chat_model in (("B", None), ("F", None), ("V", "local")):
        chat = Conversation(model, user, chat_model=chat_model, policy=policy, extractor="lexicon")
        chat.accept(chat.say(MESSAGES[0]).items[0].item)
        chat.reject(chat.say(MESSAGES[1]).items[1].item)
        chat.say(MESSAGES[2])
        for constraint in chat.requirements.constraints[:1]:
            chat.withdraw(constraint)
        talks[policy] = chat
    return talks


def data_sets() -> dict[str, Any]:
    """The k-core and the splits, and the synthetic world at seed 0."""
    found: dict[str, Any] = {}
    for name in ("ml-100k", "synthetic", "example"):
        data = data_set(name)
        tables = (
            data.interactions.offsets,
            data.interactions.flat,
            data.items.rows(),
        )
        found[name] = {
            "passes": [[p.users, p.items, p.actions] for p in data.counts["passes"]],
            "fingerprint": data.fingerprint,
            "offsets, actions, items": [digest(table) for table in tables],
            "users": digest(data.users.rows()),
            "random cuts": [digest(part) for part in random_cuts(data, 3, seed=0)],
        }  # fmt: skip
        for split in ("train", "valid", "test"):
            rows, targets = data.histories(split), data.targets(split)
            found[name][split] = [digest(part) for part in (rows.offsets, rows.flat, targets)]
    world = synthetic_world(seed=0)
    tables = world.source.ratings, world.source.items, world.item_intents, world.steps
    return found | {"world": [digest(table.rows()) for table in tables]}


def utterances() -> dict[str, Any]:
    """All rows in their order, and each column, so that a difference can be placed."""
    frames = {name: said(name).frame.select(COLUMNS) for name in ("ml-100k", "example")}
    return {
        name: {"size": len(frame), "rows": digest(frame.rows())}
        | {column: digest(frame[column].to_list()) for column in COLUMNS}
        for name, frame in frames.items()
    }


def embeddings() -> dict[str, Any]:
    """What names a vector in the store; and vectors that are computed, not read from there."""
    stored, fresh = Embedder(), Embedder(dtype="float32", reuse=False)
    vectors = fresh.embed(TEXTS, progress=False)
    return {
        "identity": stored.identity,
        "keys": [stored._key(text, 0).hex() for text in TEXTS],
        "tokens": [fresh.token_ids(text) for text in TEXTS],
        "vectors": [digest([round(value, 2) for value in v.tolist()]) for v in vectors],
        "some values": [rounded(v[:: len(v) // 8]) for v in vectors],
    }


def models() -> dict[str, Any]:
    """Inputs and weights of the trained models, whatever their parameters are called."""

    def weights(*modules: torch.nn.Module) -> str:
        return digest(sorted(fingerprint(p) for module in modules for p in module.parameters()))

    f = fitted()
    return {
        "x": fingerprint(f.language.x),
        "backbone": weights(f.backbone.encoder),
        "intents": [fingerprint(f.anchors.centroids), digest(f.anchors.names)],
        "text alone": weights(f.text_alone.scorer),
        "fusion": weights(f.fusion.scorer),
        "LatentCRS": weights(f.latentcrs.generative, f.latentcrs.inference),
        "LatentCRS+": weights(f.latentcrs_plus.generative, f.latentcrs_plus.inference),
    }


def ranks() -> dict[str, Any]:
    """Every system of the one-turn table on all test cases, histories masked."""
    cases = one_turn_cases(data_set(), fitted().backbone, fitted().language)
    return {"cases": digest(cases.frame.rows())} | {
        name: {
            "ranks": digest(found),
            "NDCG@20": round(float(metric_values(found, "NDCG@20").mean()), 6),
            "first": found[:200].tolist(),
        }
        for name, found in evaluate(cases, scorers(fitted())).items()
    }


def transcripts() -> dict[str, Any]:
    def values(turn: Turn) -> dict[str, Any]:
        was, now = turn.intents_before, turn.intents_after
        return {
            "message": turn.message,
            "items": [item.item for item in turn.items],
            "titles": [item.label for item in turn.items],
            "scores": rounded(item.score for item in turn.items),
            "misses": [[*map(str, item.misses)] for item in turn.items],
            "requirements": [f"{r.constraint} ({r.evidence})" for r in turn.requirements],
            "relaxed": list(turn.relaxed),
            "candidates": list(turn.candidates),
            "reranked": list(turn.reranked),
            "intents before and after": {name: rounded([was[name], now[name]]) for name in now},
            "note": turn.note,
            "reply": turn.reply,
            "worded by": [turn.reply_source, turn.chat_model, turn.why_template],
        }

    return {
        policy: {
            "turns": [values(turn) for turn in chat.turns],
            "requirements at the end": [*map(str, chat.requirements.constraints)],
            "intents at the end": {name: round(p, 3) for name, p in chat.intents(5).items()},
        }
        for policy, chat in chats().items()
    }


def exports() -> dict[str, Any]:
    """Each of the conversations as Markdown: one hash, and a short one of every line."""
    pages = {policy: chat.markdown() for policy, chat in chats().items()}
    return {
        policy: [digest(page), *(digest(line, 8) for line in page.splitlines())]
        for policy, page in pages.items()
    }


def dialogues() -> dict[str, Any]:
    """24 simulated users and two systems: a pair of hashes a turn, of what is said and offered."""
    systems, users = dialogue_systems(fitted()), sample_users(data_set(), 24)
    found: dict[str, Any] = {"users": users.tolist()}
    for name in ("LatentCRS+", "LatentCRS+ F"):
        for level in ("plain", "paraphrased"):
            setting = Setting(level=level)
            held = converse(data_set(), name, systems[name], users, setting, progress=False)
            turns = [
                [
                    [[e.message, [*map(str, e.constraints)], [*map(str, e.withdrawn)]], e.offered]
                    for e in dialogue.exchanges
                ]
                for dialogue in held
            ]
            found[f"{name}, {level}"] = {
                "success": [dialogue.success or 0 for dialogue in held],
                "turns": [
                    " ".join(":".join(digest(part, 8) for part in turn) for turn in dialogue)
                    for dialogue in turns
                ],
            }
    return found


def verdicts() -> dict[str, Any]:
    data, told = data_set(), INSTRUCTIONS.format(thing="film")
    items = [describe(data, data.titles.index(t)) for t in ("Fargo", "Toy Story", "Alien")]
    judge = ReplyGuard(data.titles).objection
    return {draft: judge(draft, items, message=ASKED, instructions=told) for draft in DRAFTS}


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "data": data_sets, "utterances": utterances, "embeddings": embeddings, "guard": verdicts,
    "models": models, "ranks": ranks, "transcripts": transcripts, "exports": exports,
    "dialogues": dialogues,
}  # fmt: skip


def computed(section: str) -> Any:
    torch.set_num_threads(1)
    return json.loads(json.dumps(SECTIONS[section]()))


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Yield every place where two JSON values differ, numbers beyond the tolerance."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            pair = (values.get(name, "absent") for values in (old, new))
            yield from differences(*pair, f"{place}/{name}")
    elif isinstance(old, float) and isinstance(new, float):
        if not abs(old - new) <= TOLERANCE:
            yield f"{place}: {old} became {new}"
    elif old != new:
        yield f"{place}: {old!r} became {new!r}"


def goldens() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("section", SECTIONS)
def test_the_values_are_those_of_the_old_code(section: str) -> None:
    found = [*differences(goldens()[section], computed(section))]
    assert not found, "\n".join([f"{len(found)} differences in {section!r}:", *found[:30]])


def test_every_golden_is_compared() -> None:
    assert list(goldens()) == list(SECTIONS)


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
