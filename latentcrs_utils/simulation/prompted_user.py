"""A simulated user whose words a language model chooses: the paper's prompt (Appendix D), guarded.

The rules are the paper's, in our words. A small model breaks them: it names its target, invents
films, or says what is not true. Such a message is asked for once more, and if that one is no better
the template user speaks in its place. Whether the target is on offer is not left to the model.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.constraints.lexicon import extract, lexicon_of
from latentcrs_utils.language.chat_model import ChatModel, Message, sentences, tidy_reply
from latentcrs_utils.simulation.agenda import MOST_NEW
from latentcrs_utils.simulation.items import Item
from latentcrs_utils.simulation.users import Accept, TemplateUser, UserMessage

PROMPT = tomllib.loads((Path(__file__).parent / "prompt.toml").read_text("utf-8"))
MAX_NEW_TOKENS = 60
_N_LIKED = 10
_N_SENTENCES = 2
_TRIES = 2
_ROLE = re.compile(r"^\s*(?:customer|user|me|you)\s*:\s*", re.IGNORECASE)
_END = re.compile(r"<\s*/?\s*END\s*>", re.IGNORECASE)


class PromptedUser:
    """A user played by a language model; the template user knows its target and stands in for it.

    ``told`` are constraints found in its messages, ``objections`` say why messages were refused.
    """

    def __init__(self, template: TemplateUser, chat_model: ChatModel, guard: Any):
        self._template, self._chat_model, self._guard = template, chat_model, guard
        self.target, case = template.target, template.test_case
        self._catalogue, self._lexicon = case.catalogue, lexicon_of(case.catalogue.domain)
        self._thing = case.catalogue.domain.removesuffix("s")
        liked = [case.catalogue[int(item)] for item in case.history[-_N_LIKED:]]
        self._spoken_of = [item.title for item in liked]
        facts, history = ", ".join(_facts(case.target)), "; ".join(map(_label, liked))
        told = {"facts": facts or "nothing", "history": history or "nothing"}
        told |= {"thing": self._thing, "title": case.target.title}
        instructions = PROMPT["instructions"].format(**told)
        self._chat: list[Message] = [{"role": "system", "content": instructions}]
        self.told: list[Constraint] = []
        self.objections: list[str] = []

    def say(self, offered: Sequence[int] = ()) -> UserMessage | Accept:
        """Answer the items on offer; a `LatentCRSError` of the language model is not caught."""
        if not self._catalogue.same([self.target]).isdisjoint(offered):
            return self._template.say(offered)
        items = [self._catalogue[item] for item in offered]
        self._spoken_of += [item.title for item in items]
        titles = "; ".join(map(_label, items))
        heard = PROMPT["offer"].format(titles=titles) if items else PROMPT["greeting"]
        self._chat.append({"role": "user", "content": heard})
        message = self._speak(offered)
        self._chat.append({"role": "assistant", "content": message.text})
        return message

    def _speak(self, offered: Sequence[int]) -> UserMessage:
        """The model's message, at the second try if need be; else the template user's."""
        usage: dict[str, Any] = {"prompt_tokens": 0, "completion_tokens": 0, "seconds": 0.0}
        chat = list(self._chat)
        for _ in range(_TRIES):
            reply = self._chat_model.generate(chat, max_new_tokens=MAX_NEW_TOKENS)
            usage = {name: used + getattr(reply, name) for name, used in usage.items()}
            text = tidy_message(reply.text)
            found = extract(text, self._lexicon).constraints
            new = tuple(c for c in found if c not in self.told)
            reason = self._objection(text, new)
            if reason is None:
                self.told += new
                self._template.messages.append(text)
                return UserMessage(text, new, source=self._chat_model.name, **usage)
            self.objections.append(reason)
            chat.append({"role": "assistant", "content": reply.text})
            chat.append({"role": "user", "content": PROMPT["again"].format(reason=reason)})
        spoken = self._template.say(offered)
        assert isinstance(spoken, UserMessage), "the target is not on offer"
        return replace(spoken, **usage)

    def _objection(self, text: str, new: Sequence[Constraint]) -> str | None:
        """Why a message may not be sent, or None; `new` is what the lexicon finds new in it."""
        target = self._template.test_case.target
        if not text:
            return "there was no complete sentence"
        if target.leaks_title(" ".join([*self._template.messages, text])):
            return "it gave away the title"
        if self._guard.foreign_title(text, self._spoken_of):
            return f"it named a {self._thing} that nobody had spoken of"
        if not all(constraint.satisfies(target) for constraint in new):
            return f"it said something that is not true of your {self._thing}"
        if len(new) > MOST_NEW:
            return "it told more than two facts"
        parts = sentences(text)
        if len(set(parts)) < len(parts) or text in self._template.messages:
            return "it said the same thing twice"
        return None


def tidy_message(text: str) -> str:
    """The first complete sentences of what a model wrote as a user, without role and <END>."""
    tidy = tidy_reply(_ROLE.sub("", _END.sub("", text)))
    return " ".join(sentences(tidy)[:_N_SENTENCES])


def _facts(item: Item) -> list[str]:
    year = f"from {item.year}" if item.year is not None else None
    price = f"{item.price:.2f} dollars" if item.price is not None else None
    facts = (*sorted(item.genres), year, item.creator, item.platform, price)
    return [fact for fact in facts if fact is not None]


def _label(item: Item) -> str:
    return f"{item.title} ({item.year})" if item.year is not None else item.title
