"""The state of one conversation, and what a message does to it (variant B of the paper)."""

import operator
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from latentcrs_utils.conversation import transcript
from latentcrs_utils.conversation.guards import ReplyGuard, clean_message
from latentcrs_utils.conversation.turn import Feedback, Recommendation, Turn
from latentcrs_utils.conversation.wording import thing, word_reply
from latentcrs_utils.data import Sequences
from latentcrs_utils.data.sources import UNKNOWN_TITLE
from latentcrs_utils.errors import ConfigError, DataError, LatentCRSError, MessageError

if TYPE_CHECKING:
    from latentcrs_utils.em import LatentCRS
    from latentcrs_utils.language.talker import Talker

STAGES = ("reading", "choosing", "writing")
Watch = Callable[[str, Turn | None], None]
# What the language model reads at most; a dialogue that grows beyond it loses its oldest messages.
_TEXT_LIMIT = 2_000
# Intents that a turn reports: the leaders before the message and the leaders after it.
_LEADERS = 6


class StoppedError(LatentCRSError):
    """The user stopped a message before items were chosen; the conversation is as it was before."""


class Conversation:
    """A conversation between one user and a fitted model.

    Every message is joined to those before it, embedded, and turned into an intent posterior; the
    best items that were neither seen nor offered are chosen by the recommender, and only the reply
    around them is worded by a language model, under guards. A refused or stopped message leaves the
    conversation as it was.

    Args:
        model: what `fit_em` returned.
        user: a user id of the data's provider (42), whose history without its last item, the one
            that the course keeps aside for testing, is what the model knows; None for a stranger.
        history: item ids, oldest first, instead of the history of `user`.
        talker: the language model that words the replies; "local" is the one that embeds the
            messages; None for plain templates only.
        n_items: how many items a turn offers.

    Raises:
        DataError: an unknown user or item.
        ConfigError: `n_items` below 1.
    """

    def __init__(
        self,
        model: "LatentCRS",
        user: int | str | None = None,
        *,
        history: Iterable[int] | None = None,
        talker: "Talker | Literal['local'] | None" = "local",
        n_items: int = 5,
    ):
        if n_items < 1:
            raise ConfigError(f"A turn offers at least one item, not {n_items}.")
        self.model = model
        self.user = user
        self.n_items = n_items
        index = None if user is None else model.data.user_index(user)
        if history is not None:
            self._start = [self._known_item(item) for item in history]
        elif index is not None:
            self._start = [int(item) for item in model.data.histories("test")[index]]
        else:
            self._start = []
        # an item without a name would be an offer that nobody can take up
        titles = model.data.titles
        self._nameless = [item for item, title in enumerate(titles) if title == UNKNOWN_TITLE]
        self._talker = talker
        self._guard: ReplyGuard | None = None
        self._events: list[Turn | Feedback] = []
        self._embedded: tuple[str, Tensor] | None = None

    @property
    def turns(self) -> list[Turn]:
        """The turns so far."""
        return [event for event in self._events if isinstance(event, Turn)]

    @property
    def messages(self) -> list[str]:
        """The user's messages so far; joined by a space they are x^u."""
        return [turn.message for turn in self.turns]

    @property
    def offered(self) -> list[int]:
        """Ids of all items offered so far."""
        return [item.item for turn in self.turns for item in turn.items]

    @property
    def feedback(self) -> dict[int, Literal["accept", "reject"]]:
        """The last word on every item that was accepted or rejected, by item id."""
        return {event.item: event.kind for event in self._events if isinstance(event, Feedback)}

    @property
    def history(self) -> list[int]:
        """Item ids that the behavior side sees: the known history, then the accepted items."""
        accepted = [item for item, kind in self.feedback.items() if kind == "accept"]
        return [*self._start, *(item for item in accepted if item not in self._start)]

    @property
    def talker(self) -> "Talker | None":
        """The language model that words the replies; loaded at first use."""
        if self._talker == "local":
            from latentcrs_utils.language.local_talker import LocalTalker

            self._talker = LocalTalker(self.model.language.embedder.model)
        return self._talker

    def say(
        self,
        text: str,
        *,
        stream: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
        watch: Watch | None = None,
    ) -> Turn:
        """Answer a message.

        Args:
            text: what the user says, at most `MESSAGE_LIMIT` characters.
            stream: called with each new sentence of the reply, already checked.
            stop: set it from another thread to stop: before items are chosen the message is
                dropped, afterwards the reply is cut short.
            watch: called with "reading", "choosing" and "writing" when each begins, the last time
                with the turn as far as it is known: items and intents, no reply.

        Returns:
            The turn, which is also the last of `turns`.

        Raises:
            MessageError: the message is empty or too long, or no item is left to offer.
            StoppedError: `stop` was set before items were chosen.
        """
        message = clean_message(text)
        watch = watch or (lambda stage, turn: None)
        times = [time.perf_counter()]
        watch("reading", None)
        before, (x, n_dropped) = self._intents(), self._read([*self.messages, message])
        times.append(time.perf_counter())
        if stop is not None and stop.is_set():
            raise StoppedError("Stopped before anything was chosen; the message was not used.")
        watch("choosing", None)
        chosen = self._offer(message, before, x, n_dropped)
        times.append(time.perf_counter())
        watch("writing", chosen)
        turn = self._word(chosen, stream, stop)
        times.append(time.perf_counter())
        spent = (round(end - start, 4) for start, end in pairwise(times))
        turn = replace(turn, seconds=dict(zip(STAGES, spent, strict=True)))
        self._events.append(turn)
        return turn

    def accept(self, item: int) -> None:
        """Note that the user likes an item: it joins the history from the next message on.

        Raises:
            DataError: there is no such item.
        """
        self._note_feedback("accept", item)

    def reject(self, item: int) -> None:
        """Note that the user does not want an item: it is never offered (again).

        Raises:
            DataError: there is no such item.
        """
        self._note_feedback("reject", item)

    def undo(self) -> Turn | Feedback | None:
        """Take back the last message or click; returns it, or None when there is nothing left."""
        return self._events.pop() if self._events else None

    def intents(self, top: int | None = None) -> dict[str, float]:
        """p(m | S, x) as things stand, by intent name, the most probable first.

        Args:
            top: how many; None for all.
        """
        values = self._intents()
        order = values.argsort(descending=True, stable=True)[:top]
        return {self.model.anchors.names[j]: float(values[j]) for j in order.tolist()}

    def label(self, item: int) -> str:
        """Title and year of an item.

        Raises:
            DataError: there is no such item.
        """
        return self._describe(self._known_item(item), score=0.0).label

    def transcript(self) -> dict[str, Any]:
        """The whole conversation as JSON types; `from_transcript` reads it."""
        return transcript.write(self, self._start, self._events)

    @classmethod
    def from_transcript(
        cls,
        model: "LatentCRS",
        values: Mapping[str, Any],
        *,
        talker: "Talker | Literal['local'] | None" = "local",
    ) -> "Conversation":
        """The conversation that `transcript` described, ready to go on; nothing is generated again.

        Args:
            model: the model to go on with; its catalogue must be that of the transcript.
            values: what `transcript` returned, perhaps after a journey through JSON.
            talker: as for a new conversation.

        Raises:
            DataError: the transcript is damaged or belongs to another catalogue.
        """
        setting, events = transcript.read(model.data, values)
        conversation = cls(model, talker=talker, **setting)
        conversation._events = events
        return conversation

    def _known_item(self, item: int) -> int:
        """The item id as an int, if the catalogue has it."""
        try:
            number = operator.index(item)
        except TypeError:
            number = 0
        n_items = self.model.data.n_items
        if not 1 <= number <= n_items:
            raise DataError(
                f"There is no item {repr(item)[:40]} in {self.model.data.name}: "
                f"item ids go from 1 to {n_items:,}."
            )
        return number

    def _note_feedback(self, kind: Literal["accept", "reject"], item: int) -> None:
        item = self._known_item(item)
        if self.feedback.get(item) != kind:
            self._events.append(Feedback(kind, item))

    @torch.inference_mode()
    def _read(self, messages: list[str]) -> tuple[Tensor, int]:
        """x of all messages together, [1, d_x], and how many of the oldest were left out.

        Without a message x is the zero vector: the mean of the standardised training texts.
        """
        kept = list(messages)
        while len(" ".join(kept)) > _TEXT_LIMIT and len(kept) > 1:
            kept.pop(0)
        text = " ".join(kept)
        if not text:
            return torch.zeros(1, len(self.model.language.mean)), 0
        if self._embedded is None or self._embedded[0] != text:
            self._embedded = (text, self.model.language.encode([text], progress=False))
        return self._embedded[1], len(messages) - len(kept)

    @torch.inference_mode()
    def _behavior(self) -> Tensor:
        """S of the history, [1, d]; the zero vector without one."""
        return self.model.backbone.encode(Sequences.from_lists([self.history]))

    @torch.inference_mode()
    def _intents(self) -> Tensor:
        """p(m | S, x) as things stand, [K]."""
        x, _ = self._read(self.messages)
        return self.model.intent_posterior(self._behavior(), x)[0]

    @torch.inference_mode()
    def _offer(self, message: str, before: Tensor, x: Tensor, n_dropped: int) -> Turn:
        """The turn without its reply: items, and what the message did to the intents."""
        S = self._behavior()
        items = self._choose(S, x)
        was, now = self._shift(before, self.model.intent_posterior(S, x)[0])
        return Turn(
            number=len(self.turns) + 1,
            message=message,
            items=items,
            intents_before=was,
            intents_after=now,
            note=self._note(len(items), n_dropped),
        )

    def _choose(self, S: Tensor, x: Tensor) -> tuple[Recommendation, ...]:
        """The best items that were neither seen, offered nor rejected."""
        scores = self.model.scores(S, x)[0].clone()
        gone = [0, *self.history, *self.offered, *self.feedback, *self._nameless]
        scores[gone] = -torch.inf
        left = int(torch.isfinite(scores).sum())
        if left == 0:
            raise MessageError(
                f"Nothing is left to offer: every item of {self.model.data.name} is in the history "
                "or was offered. Undo a turn or start a new conversation."
            )
        best = scores.topk(min(self.n_items, left))
        return tuple(
            self._describe(item, score)
            for score, item in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        )

    def _describe(self, item: int, score: float) -> Recommendation:
        row = self.model.data.item(item)
        return Recommendation(item, row["title"], row["year"], tuple(row["genres"] or ()), score)

    def _shift(self, before: Tensor, after: Tensor) -> tuple[dict[str, float], dict[str, float]]:
        """The leading intents before and after a message, by name, the highest after it first."""
        leaders = {*before.topk(min(_LEADERS, len(before))).indices.tolist()}
        leaders |= {*after.topk(min(_LEADERS, len(after))).indices.tolist()}
        order = sorted(leaders, key=lambda j: (-float(after[j]), j))
        names = self.model.anchors.names
        return (
            {names[j]: float(before[j]) for j in order},
            {names[j]: float(after[j]) for j in order},
        )

    def _note(self, n_chosen: int, n_dropped: int) -> str:
        """What the user should know about this turn."""
        noun = thing(self.model.data.name)
        notes = []
        if not self.history:
            notes.append(f"No history is known, so these {noun}s follow from your words alone.")
        if n_chosen < self.n_items:
            notes.append(
                f"Only {n_chosen} of the {self.n_items} places could be filled: the rest "
                "of the catalogue was seen or offered."
            )
        if n_dropped:
            notes.append(
                f"The dialogue is long: its first {n_dropped} messages are no longer read."
            )
        return " ".join(notes)

    def _word(
        self,
        chosen: Turn,
        stream: Callable[[str], None] | None,
        stop: threading.Event | None,
    ) -> Turn:
        """The turn with its reply."""
        if self._guard is None:
            self._guard = ReplyGuard(self.model.data.titles)
        return word_reply(
            chosen,
            self.talker,
            self._guard,
            noun=thing(self.model.data.name),
            has_history=bool(self.history),
            previous=[turn.reply for turn in self.turns],
            stream=stream,
            stop=stop,
        )
