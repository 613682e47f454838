"""The words around the chosen items: the prompt, the guarded reply and the plain template."""

import re
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from latentcrs_utils.constraints.constraint import Constraint, Requirements, matcher_for
from latentcrs_utils.constraints.extraction import failure
from latentcrs_utils.conversation.guards import guard_for, may_be_text
from latentcrs_utils.conversation.in_words import asked, listed, thing, told_of, words_of
from latentcrs_utils.conversation.turn import Turn, shown
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.language.chat_model import sentences, tidy_reply
from latentcrs_utils.simulation.users import answer_text

if TYPE_CHECKING:
    from latentcrs_utils.language.chat_model import ChatModel

MAX_NEW_TOKENS = 60
_N_TITLES = 3  # a small model stays on its subject with three films
_RISEN = 0.02  # of an intent: a smaller gain is not told

_REPLIES, _PROMPT = words_of("replies"), words_of("examples")


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
    lacks = [wish.unmet(items[item.item]) for item in (first, *others)]
    met = [r.constraint for r in wish if r.constraint.satisfies(items[first.item])]
    case = "unmet" if lacks[0] else "met" if met and whole else "open"
    after = words["rest_met" if case == "met" and not any(lacks) else "rest"] if others else [""]
    named = listed([item.label for item in others])
    told = words[case][turn.number % len(words[case])].format(
        first=first.label,
        is_what=told_of(items[first.item], first.genres, met, noun),
        unmet=listed([asked(constraint, noun) for constraint in lacks[0]]),
        rest=after[turn.number % len(after)].format(others=named, s="s" * (len(others) == 1)),
    )
    gains = (p - turn.intents_before.get(name, 0.0) for name, p in turn.intents_after.items())
    if case == "open" and whole and not met and max(gains, default=0.0) < _RISEN:
        told += f" {_REPLIES['more']['history' if has_history else 'stranger']}"
    return shown(told)


def question_about(asked: Constraint) -> str:
    """The question whether the item is to have an attribute, and how to answer it."""
    yes, no = answer_text(asked), answer_text(asked.opposite)
    return words_of("replies")["asking"]["attribute"].format(asked.label, yes, no)


def in_full(message: str, question: str) -> str:
    """A bare yes or no in the words that a question before it (`question_about`) asks for."""
    asking, word = words_of("replies")["asking"], message.lower().strip(" .!").replace(",", "")
    if question.startswith(asking["attribute"].split("{")[0]):
        for answer, bare in zip(re.findall("“(.+?)”", question), asking["bare"], strict=True):
            message = answer if word in bare else message
    return message


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
    turn: Turn, chat_model: "ChatModel | None", data: Dataset, *, previous: Collection[str],
    stream: Callable[[str], None] | None, stop: threading.Event,
) -> Turn:  # fmt: skip
    """Complete a turn with a template's reply by source, reason, draft, tokens and a model's reply.

    The first sentence of the `chat_model` (None: the template alone) is shown, and given to
    `stream`, if the guard lets it pass; else the template stays. The model is stopped after that
    sentence, or when the user sets `stop`. `previous` are replies of earlier turns. The tokens of a
    failed model are unknown.
    """
    if chat_model is None:
        return replace(turn, why_template="no language model was asked")
    turn = replace(turn, chat_model=chat_model.name)
    guard = guard_for(data, thing(data.name))
    chat = prompt(turn, guard.noun)
    enough, draft, complete = _Enough(stop), "", list[str]()

    def take(piece: str) -> None:
        nonlocal draft, complete
        if not enough.is_set():
            draft += piece
            # the last sentence may still grow ("Dr." or "..."), so it waits for what follows it
            if complete := _sentences(draft + "\n")[:-1]:
                enough.set()

    try:
        answer = chat_model.generate(chat, max_new_tokens=MAX_NEW_TOKENS, stream=take, stop=enough)
    except Exception as error:  # whatever a model raises, the chosen items stand
        return replace(turn, why_template=failure(error), draft=draft, counted=False)
    objection: str | None = "you stopped it"
    if not enough.is_set():
        # the last sentence, or all of them from a model that does not stream
        draft, objection = answer.text, "it broke off" if answer.text.strip() else "it was empty"
        complete = _sentences(draft)
    if complete:
        objection = guard.objection(
            complete[0], turn.items, message=turn.message, previous=previous,
            instructions=" ".join(message["content"] for message in chat[:-1]),
        )  # fmt: skip
    turn = replace(
        turn, why_template=objection, draft=draft, prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens, counted=turn.counted and answer.counted,
    )  # fmt: skip
    if objection:
        return turn
    if stream is not None:
        stream(complete[0])
    return replace(turn, reply=complete[0], reply_source="model")
