"""The words around the chosen items: the prompt, the guarded reply and the plain template."""

import threading
import tomllib
from collections.abc import Callable, Collection
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING

from latentcrs_utils.constraints.extraction import failure
from latentcrs_utils.conversation.guards import ReplyGuard, may_be_text
from latentcrs_utils.conversation.turn import Turn
from latentcrs_utils.language.chat_model import sentences, tidy_reply
from latentcrs_utils.simulation.phrase_book import domain_of

if TYPE_CHECKING:
    from latentcrs_utils.language.chat_model import ChatModel

MAX_NEW_TOKENS = 60
_N_TITLES = 3  # a small model stays on its subject with three films
_RISEN = 0.02  # of an intent: a smaller gain is not told

INSTRUCTIONS = (
    "You recommend {thing}s. Answer in one friendly sentence that takes up the wish and names "
    "{thing}s from the list only."
)
REQUEST = 'Wish: "{message}"\nList: {titles}'
_EXAMPLES = tomllib.loads(
    files("latentcrs_utils.conversation").joinpath("reply_examples.toml").read_text("utf-8")
)["example"]


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
    chat = [{"role": "system", "content": INSTRUCTIONS.format(thing=noun)}]
    for example in [*_EXAMPLES, {"wish": turn.message, "titles": titles, "reply": ""}]:
        content = REQUEST.format(message=example["wish"], titles=example["titles"])
        chat.append({"role": "user", "content": content})
        chat.append({"role": "assistant", "content": example["reply"]})
    return chat[:-1]


def template_reply(turn: Turn, has_history: bool) -> str:
    """A plain reply made only of what the recommender knows; used whenever no model may speak."""
    first, *others = [item.label for item in turn.items[:3]]
    rest = " and ".join(others)
    opening = (
        f"I would start with {first}; {rest} come next.",
        f"Have a look at {first}, or else at {rest}.",
        f"How about {first}? Close behind: {rest}.",
    )[turn.number % 3]
    if not others:
        opening = f"One is left that I can suggest: {first}."
    gains = {name: p - turn.intents_before.get(name, 0.0) for name, p in turn.intents_after.items()}
    risen = max(gains, key=lambda name: gains[name], default="")
    if gains.get(risen, 0.0) >= _RISEN:
        return f"{opening} Your words moved me towards “{risen}”."
    if has_history:
        return f"{opening} Your words changed little, so I lean on what you liked before."
    return f"{opening} Tell me more, and I can aim better."


class _Enough(threading.Event):
    """Set when enough is written, or once the user stops, also while the model is silent."""

    def __init__(self, stop: threading.Event):
        super().__init__()
        self._stop = stop

    def is_set(self) -> bool:
        return super().is_set() or self._stop.is_set()


def _sentences(draft: str) -> list[str]:
    return sentences(tidy_reply("".join(filter(may_be_text, draft))))


def word_reply(
    turn: Turn,
    chat_model: "ChatModel | None",
    guard: ReplyGuard,
    *,
    noun: str,
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
        noun: what an item is called.
        has_history: whether behavior is known of this user.
        previous: replies of earlier turns.
    """
    plain = replace(turn, reply=template_reply(turn, has_history))
    if chat_model is None:
        return replace(plain, why_template="no language model was asked")
    plain = replace(plain, chat_model=chat_model.name)
    chat = prompt(turn, noun)
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
