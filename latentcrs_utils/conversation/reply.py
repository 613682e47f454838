"""The words around the chosen items: the prompt, the guarded reply and the plain template."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from latentcrs_utils.constraints.extraction import failure
from latentcrs_utils.conversation.guards import ReplyGuard
from latentcrs_utils.conversation.turn import Turn
from latentcrs_utils.language.chat_model import sentences, tidy_reply
from latentcrs_utils.simulation.phrase_book import domain_of

if TYPE_CHECKING:
    from latentcrs_utils.language.chat_model import ChatModel

MAX_NEW_TOKENS = 60
# A small model stays on its subject for one sentence, and with three films.
_N_SENTENCES = 1
_N_TITLES = 3
_RISEN = 0.02  # of an intent: a smaller gain is not told

INSTRUCTIONS = (
    "You recommend {thing}s. Answer in one friendly sentence that takes up the wish and names "
    "{thing}s from the list only."
)
REQUEST = 'Wish: "{message}"\nList: {titles}'
# Invented films: a real one might be repeated where it was not chosen.
EXAMPLES = (
    (
        "a spooky night in",
        "The Hollow Stair (1963, Horror), Black Harvest (1974, Horror), Room Nine (1981, Thriller)",
        "The Hollow Stair suits a spooky night in, and Black Harvest is close behind.",
    ),
    (
        "cheer me up, but nothing silly",
        "Two for Lunch (1988, Comedy, Romance), Paper Boats (1992, Comedy, Drama), "
        "The Long Weekend (1979, Comedy)",
        "Two for Lunch will cheer you up without being silly, and Paper Boats is a fine second "
        "choice.",
    ),
    (
        "maybe something about the sea",
        "Salt and Iron (1956, Adventure), The Lighthouse Road (1990, Drama), "
        "North Wind (1968, Adventure)",
        "Salt and Iron takes you out to sea, and The Lighthouse Road is the quieter of the two.",
    ),
)


def thing(data_name: str) -> str:
    """What the items of a data set are called."""
    if data_name.startswith("ml-"):
        return "film"
    return {"games": "game", "albums": "album"}.get(domain_of(data_name), "item")


def prompt(turn: Turn, noun: str) -> list[dict[str, str]]:
    """The chat messages that ask a language model to introduce the first items of a turn."""
    titles = ", ".join(
        f"{item.title} ({', '.join([str(item.year or 'year unknown'), *item.genres[:2]])})"
        for item in turn.items[:_N_TITLES]
    )
    exchanges = [*EXAMPLES, (turn.message, titles, "")]
    chat = [{"role": "system", "content": INSTRUCTIONS.format(thing=noun)}]
    for message, listed, answer in exchanges:
        content = REQUEST.format(message=message, titles=listed)
        chat += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
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
    # one sentence on what the message did to the intents
    gains = {
        name: after - turn.intents_before.get(name, 0.0)
        for name, after in turn.intents_after.items()
    }
    risen = max(gains, key=lambda name: gains[name], default=None)
    if risen is not None and gains[risen] >= _RISEN:
        return f"{opening} Your words moved me towards “{risen}”."
    if has_history:
        return f"{opening} Your words changed little, so I lean on what you liked before."
    return f"{opening} Tell me more, and I can aim better."


def word_reply(
    turn: Turn,
    chat_model: "ChatModel | None",
    guard: ReplyGuard,
    *,
    noun: str,
    has_history: bool,
    previous: Collection[str] = (),
    stream: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> Turn:
    """Complete a turn with its reply.

    A language model's text reaches `stream` sentence by sentence, each one checked first; at the
    first objection the model is stopped and the template takes over.

    Args:
        turn: items and intents, no reply yet.
        chat_model: the language model, or None for the template alone.
        guard: knows the catalogue.
        noun: "film", "game", "album" or "item".
        has_history: whether behavior is known of this user.
        previous: replies of earlier turns.
        stream: called with each new piece of the shown reply.
        stop: set by the user to cut the writing short.

    Returns:
        The turn with reply, source, reason, draft and tokens; those of a failed model are unknown.
    """
    plain = replace(turn, reply=template_reply(turn, has_history))
    if chat_model is None:
        return replace(plain, why_template="no language model was asked")
    chat = prompt(turn, noun)
    fixed_words = " ".join(message["content"] for message in chat[:-1])
    writer = _GuardedWriter(
        lambda text: guard.objection(
            text, turn.items, message=turn.message, instructions=fixed_words, previous=previous
        ),
        stream or (lambda text: None),
        stop or threading.Event(),
    )
    plain = replace(plain, chat_model=chat_model.name)
    try:
        answer = chat_model.generate(
            chat, max_new_tokens=MAX_NEW_TOKENS, stream=writer.piece, stop=writer.enough
        )
    except Exception as error:  # whatever a model raises, the chosen items stand
        why = failure(error)
        return replace(plain, why_template=why, draft=writer.draft, counted=False)
    writer.finish(answer.text)
    told = replace(
        plain,
        draft=writer.draft,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        counted=turn.counted and answer.counted,
    )
    if writer.shown and writer.objection is None:
        return replace(told, reply=writer.shown, reply_source="model")
    return replace(told, why_template=writer.objection or "you stopped it")


class _GuardedWriter:
    """Collects a model's pieces and passes on whole sentences that the guard lets through."""

    def __init__(
        self,
        check: Callable[[str], str | None],
        stream: Callable[[str], None],
        stopped: threading.Event,
    ):
        self.check, self.stream, self.stopped = check, stream, stopped
        self.enough = threading.Event()
        self.draft = self.shown = ""
        self.objection: str | None = None

    def piece(self, text: str) -> None:
        """Take one streamed piece."""
        if self.enough.is_set():
            return
        self.draft += text
        # The last sentence may still grow ("Dr." or "..."), so it waits for what follows it.
        self._advance(sentences(tidy_reply(self.draft + "\n"))[:-1])
        if self.stopped.is_set():
            self.enough.set()

    def finish(self, text: str) -> None:
        """Take the whole text, for a chat model that does not stream and for the last sentence."""
        if self.stopped.is_set() or self.enough.is_set():
            return
        self.draft = text
        complete = sentences(tidy_reply(text))
        self._advance(complete)
        if not complete:
            self.objection = "it was empty" if not text.strip() else "it broke off"

    def _advance(self, complete: Sequence[str]) -> None:
        candidate = " ".join(complete[:_N_SENTENCES])
        if len(candidate) <= len(self.shown) or self.objection:
            return
        self.objection = self.check(candidate)
        if self.objection is None:
            self.stream(candidate[len(self.shown) :])
            self.shown = candidate
        if self.objection or len(complete) >= _N_SENTENCES:
            self.enough.set()
