"""The words around the chosen items: the prompt, the guarded reply and the plain template."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from latentcrs_utils.constraints.constraint import Constraint, Requirements, matcher_for
from latentcrs_utils.constraints.extraction import failure
from latentcrs_utils.conversation.guards import guard_for, may_be_text
from latentcrs_utils.conversation.listener import words_of
from latentcrs_utils.conversation.turn import Turn, shown, with_article
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.language.chat_model import sentences, tidy_reply
from latentcrs_utils.simulation.items import Item
from latentcrs_utils.simulation.phrase_book import domain_of

if TYPE_CHECKING:
    from latentcrs_utils.language.chat_model import ChatModel

MAX_NEW_TOKENS = 60
_N_TITLES = _N_GENRES = 3  # a small model stays on its subject with three films
_RISEN = 0.02  # of an intent: a smaller gain is not told

_REPLIES, _PROMPT = words_of("replies"), words_of("examples")
_ONE_IS_ENOUGH = {"years", "platform", "creator"}  # of several that are asked for


def thing(data_name: str) -> str:
    """What the items of a data set are called: "film", "game", "album" or "item"."""
    if data_name.startswith("ml-"):
        return "film"
    return {"games": "game", "albums": "album"}.get(domain_of(data_name), "item")


def prompt(turn: Turn, noun: str) -> list[dict[str, str]]:
    """The chat messages that ask a language model to introduce the first items of a turn."""
    titles = ", ".join(
        f"{item.title} ({', '.join([str(item.year or 'year unknown'), *item.genres[:2]])})"
        for item in turn.items[:_N_TITLES]
    )
    chat = [{"role": "system", "content": _PROMPT["instructions"].format(thing=noun)}]
    for exchange in [*_PROMPT["example"], {"wish": turn.message, "titles": titles, "reply": ""}]:
        chat.append({"role": "user", "content": _PROMPT["request"].format(**exchange)})
        chat.append({"role": "assistant", "content": exchange["reply"]})
    return chat[:-1]


def template_reply(
    turn: Turn, wish: Requirements, data: Dataset, has_history: bool, whole: bool = True
) -> str:
    """One sentence made only of what the data says of the best items, and whether it is the wish.

    `wish` are the constraints that the user's words name, whatever the policy holds items to; it is
    not the `whole` wish where the words ask for what the data does not tell.
    """
    noun, words, items = thing(data.name), _REPLIES["frames"], matcher_for(data).catalogue.items
    first, *others = turn.items[:_N_TITLES]
    lacks = [_unmet(wish, items[item.item]) for item in (first, *others)]
    met = [r.constraint for r in wish if r.constraint not in lacks[0]]
    missed = [_phrase(c, noun) for c in lacks[0]]
    case = "unmet" if missed else "met" if met and whole else "open"
    after = words["rest_met" if case == "met" and not any(lacks) else "rest"] if others else [""]
    named = _listed([item.label for item in others])
    rest = after[turn.number % len(after)].format(others=named, s="s" * (len(others) == 1))
    is_what = _what_it_is(items[first.item], first.genres, met, noun)
    frame = words[case][turn.number % len(words[case])]
    told = frame.format(first=first.label, is_what=is_what, unmet=_listed(missed), rest=rest)
    gains = (p - turn.intents_before.get(name, 0.0) for name, p in turn.intents_after.items())
    if case == "open" and whole and not met and max(gains, default=0.0) < _RISEN:
        told += f" {_REPLIES['more']['history' if has_history else 'stranger']}"
    return shown(told)


def _listed(words: Sequence[str]) -> str:
    """Words in a row: "a, b and c"."""
    *others, end = words or ("",)
    return f"{', '.join(others)} and {end}" if others else end


def _unmet(wish: Requirements, item: Item) -> list[Constraint]:
    """What of a wish an item does not meet; of several times, platforms or creators one will do."""
    lacks = [r.constraint for r in wish if not r.constraint.satisfies(item)]
    asked = [r.constraint for r in wish if not r.constraint.negated]
    met = {c.attribute for c in asked if c not in lacks} & _ONE_IS_ENOUGH
    return [c for c in lacks if c.negated or c.attribute not in met]


def _what_it_is(item: Item, genres: Sequence[str], met: Sequence[Constraint], noun: str) -> str:
    """What the data says of an item: "is a horror and sci-fi film from the 1980s"."""
    wanted = [c.value for c in met]
    genres = sorted(genres, key=lambda genre: genre not in wanted)[:_N_GENRES]
    adjectives = [_REPLIES["adjectives"].get(genre, "") for genre in genres]
    told = f"is listed under {_listed(genres)}"
    if not genres or (noun == "film" and all(adjectives)):
        told = f"is {with_article(f'{_listed(adjectives)} {noun}'.strip())}"
    known = [(slot, getattr(item, slot)) for slot in ("platform", "creator")]
    facts = [c for c in met if not c.negated and c.slot != "genre"]
    facts += [Constraint(slot, value) for slot, value in known if value]
    asked = [_phrase(c, noun).removeprefix("one ") for c in dict.fromkeys(facts)]
    refused = [_phrase(c, noun).replace("none ", "not ") for c in met if c.negated]
    return _listed([" ".join([told, *asked]), *refused])


def _phrase(constraint: Constraint, noun: str) -> str:
    """What is asked for: "a horror film", "no horror film", "one from the 1980s"."""
    words = replace(constraint, negated=False).label
    if constraint.slot == "genre":
        adjective = _REPLIES["adjectives"].get(words, "") if noun == "film" else ""
        words = f"{adjective} {noun}" if adjective else f"{noun} under {words}"
        return f"no {words}" if constraint.negated else with_article(words)
    words = f"from {words}" if constraint.attribute == "years" else words
    return f"{'none' if constraint.negated else 'one'} {words}"


class _Enough(threading.Event):
    """Set when enough is written, or once the user stops, also while the model is silent."""

    def __init__(self, stop: threading.Event):
        super().__init__()
        self._stop = stop

    def is_set(self) -> bool:
        return super().is_set() or self._stop.is_set()


def _sentences(draft: str) -> list[str]:
    return sentences(tidy_reply("".join(filter(may_be_text, shown(draft)))))


def word_reply(
    turn: Turn,
    chat_model: "ChatModel | None",
    data: Dataset,
    *,
    wish: Requirements,
    whole: bool,
    has_history: bool,
    previous: Collection[str],
    stream: Callable[[str], None] | None,
    stop: threading.Event,
) -> Turn:
    """Complete a turn of items and intents with reply, source, reason, draft and tokens.

    Of a language model's text the first sentence is shown (and given to `stream`) as soon as the
    guard has let it pass; else the template takes over. In both cases the model is stopped then,
    as it is when the user sets `stop`. The tokens of a failed model are unknown.

    Args:
        chat_model: None for the template alone.
        wish, whole: as of `template_reply`.
        has_history: whether behavior is known of this user.
        previous: replies of earlier turns.
    """
    plain = replace(turn, reply=template_reply(turn, wish, data, has_history, whole))
    if chat_model is None:
        return replace(plain, why_template="no language model was asked")
    plain = replace(plain, chat_model=chat_model.name)
    guard = guard_for(data, thing(data.name))
    chat = prompt(turn, guard.noun)
    fixed_words = " ".join(message["content"] for message in chat[:-1])
    enough = _Enough(stop)
    draft, shown, objection = "", "", None

    def judge(complete: list[str]) -> None:
        nonlocal shown, objection
        if not complete:
            return
        objection = guard.objection(
            complete[0],
            turn.items,
            message=turn.message,
            instructions=fixed_words,
            previous=previous,
        )
        if objection is None:
            shown = complete[0]
            if stream is not None:
                stream(shown)
        enough.set()

    def take(piece: str) -> None:
        nonlocal draft
        if not enough.is_set():
            draft += piece
            # the last sentence may still grow ("Dr." or "..."), so it waits for what follows it
            judge(_sentences(draft + "\n")[:-1])

    try:
        answer = chat_model.generate(chat, max_new_tokens=MAX_NEW_TOKENS, stream=take, stop=enough)
    except Exception as error:  # whatever a model raises, the chosen items stand
        return replace(plain, why_template=failure(error), draft=draft, counted=False)
    if not enough.is_set():
        # the last sentence, or all of them from a model that does not stream
        draft, objection = answer.text, "it broke off" if answer.text.strip() else "it was empty"
        judge(_sentences(draft))
    told = replace(
        plain,
        draft=draft,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        counted=turn.counted and answer.counted,
    )
    if shown:
        return replace(told, reply=shown, reply_source="model")
    return replace(told, why_template=objection or "you stopped it")
