"""The state of one conversation, and what a message does to it (variants B, F, V of the paper)."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.conversation import transcript
from latentcrs_utils.conversation.guards import ReplyGuard, clean_message
from latentcrs_utils.conversation.items import describe, known_item
from latentcrs_utils.conversation.reading import read_text
from latentcrs_utils.conversation.report import notes_on, shift
from latentcrs_utils.conversation.reranking import Story
from latentcrs_utils.conversation.turn import Event, Feedback, Turn, VariantName, Withdrawal
from latentcrs_utils.conversation.variants import Question, Reading, make_variant
from latentcrs_utils.conversation.wording import thing, word_reply
from latentcrs_utils.data import Sequences
from latentcrs_utils.data.sources import UNKNOWN_TITLE
from latentcrs_utils.errors import ConfigError, DataError, LatentCRSError, MessageError
from latentcrs_utils.language.extraction import Extractor, How
from latentcrs_utils.language.requirements import Requirements

if TYPE_CHECKING:
    from latentcrs_utils.em import LatentCRS
    from latentcrs_utils.language.talker import Talker

STAGES = ("reading", "choosing", "writing")
Watch = Callable[[str, Turn | None], None]


class StoppedError(LatentCRSError):
    """The user stopped a message before items were chosen; the conversation is as it was before."""


class Conversation:
    """A conversation between one user and a fitted model.

    Every message is joined to those before it, embedded, and turned into an intent posterior; the
    best items that were neither seen nor offered are chosen by the recommender, and the reply
    around them is worded by a language model, under guards. Variants F and V also let it say what
    the user requires, or re-order the recommender's best (`variants`). A refused or stopped message
    leaves the conversation as it was.

    Args:
        model: what `fit_em` returned.
        user: a user id of the data's provider (42), whose history without its last item, the one
            that the course keeps aside for testing, is what the model knows; None for a stranger.
        history: item ids, oldest first, instead of the history of `user`.
        talker: the language model that words the replies, and serves F and V; "local" is the one
            that embeds the messages; None for plain templates only.
        n_items: how many items a turn offers.
        variant: "B", "F" or "V".
        extractor: who reads the requirements of F: "lexicon", "model", "both", or an extractor of
            your own; without a talker the lexicon alone.
        rerank: how V re-orders.

    Raises:
        DataError: an unknown user or item.
        ConfigError: `n_items` below 1, or no such variant or extractor.
    """

    def __init__(
        self,
        model: "LatentCRS",
        user: int | str | None = None,
        *,
        history: Iterable[int] | None = None,
        talker: "Talker | Literal['local'] | None" = "local",
        n_items: int = 5,
        variant: VariantName = "B",
        extractor: Extractor | How = "both",
        rerank: RerankConfig | None = None,
    ):
        if n_items < 1:
            raise ConfigError(f"A turn offers at least one item, not {n_items}.")
        self.model = model
        self.user = user
        self.n_items = n_items
        index = None if user is None else model.data.user_index(user)
        if history is not None:
            self._start = [known_item(model.data, item) for item in history]
        elif index is not None:
            self._start = [int(item) for item in model.data.histories("test")[index]]
        else:
            self._start = []
        # an item without a name would be an offer that nobody can take up
        titles = model.data.titles
        self._nameless = [item for item, title in enumerate(titles) if title == UNKNOWN_TITLE]
        self._talker = talker
        self._guard: ReplyGuard | None = None
        self._variant = make_variant(
            variant, model.data, lambda: self.talker, extractor, rerank or RerankConfig()
        )
        self._events: list[Event] = []
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
    def variant(self) -> VariantName:
        """How items are chosen."""
        return self._variant.name

    @property
    def requirements(self) -> Requirements:
        """What the user requires as things stand (variant F), each with the words that say so."""
        known = Requirements()
        for event in self._events:
            if isinstance(event, Turn) and event.variant == "F":
                known = Requirements(event.requirements)
            elif isinstance(event, Withdrawal):
                known = known.without(event.condition)
        return known

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
            ConfigError: the language model cannot do what the variant asks of it.
            StoppedError: `stop` was set before items were chosen.
        """
        message = clean_message(text)
        watch = watch or (lambda stage, turn: None)
        times = [time.perf_counter()]
        watch("reading", None)
        before, (x, n_dropped) = self._intents(), self._read([*self.messages, message])
        reading = self._variant.read(message, self.requirements, stop)
        times.append(time.perf_counter())
        _check_stop(stop)
        watch("choosing", None)
        chosen = self._offer(message, before, x, n_dropped, reading, stop)
        times.append(time.perf_counter())
        _check_stop(stop)
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

    def withdraw(self, condition: str) -> None:
        """Take back a requirement, as `requirements` has it; the next message does without it.

        Raises:
            DataError: it is not required.
        """
        if condition not in self.requirements.conditions:
            raise DataError(f"{repr(condition)[:60]} is not among the requirements.")
        self._events.append(Withdrawal(condition))

    def undo(self) -> Event | None:
        """Take back the last message, click or withdrawal; returns it, None if nothing is left."""
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
        return describe(self.model.data, known_item(self.model.data, item)).label

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
        **options: Any,
    ) -> "Conversation":
        """The conversation that `transcript` described, ready to go on; nothing is generated again.

        Args:
            model: the model to go on with; its catalogue must be that of the transcript.
            values: what `transcript` returned, perhaps after a journey through JSON.
            talker: as for a new conversation.
            options: other settings of a new conversation (`variant`, `extractor`, `rerank`); a
                variant other than the transcript's holds from the next message on.

        Raises:
            DataError: the transcript is damaged or belongs to another catalogue.
        """
        setting, events = transcript.read(model.data, values)
        conversation = cls(model, talker=talker, **{**setting, **options})
        conversation._events = events
        return conversation

    def _note_feedback(self, kind: Literal["accept", "reject"], item: int) -> None:
        item = known_item(self.model.data, item)
        if self.feedback.get(item) != kind:
            self._events.append(Feedback(kind, item))

    @torch.inference_mode()
    def _read(self, messages: list[str]) -> tuple[Tensor, int]:
        """x of all messages together, [1, d_x], and how many of the oldest were left out.

        Without a message x is the zero vector: the mean of the standardised training texts.
        """
        text, n_dropped = read_text(messages)
        if not text:
            return torch.zeros(1, len(self.model.language.mean)), 0
        if self._embedded is None or self._embedded[0] != text:
            self._embedded = (text, self.model.language.encode([text], progress=False))
        return self._embedded[1], n_dropped

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
    def _offer(
        self,
        message: str,
        before: Tensor,
        x: Tensor,
        n_dropped: int,
        reading: Reading,
        stop: threading.Event | None,
    ) -> Turn:
        """The turn without its reply: items, and what the message did to the intents."""
        S = self._behavior()
        noun = thing(self.model.data.name)
        liked = [self.model.data.titles[item] for item in self.history]
        story = Story(liked, [*self.messages, message], noun)
        wanted = reading.requirements
        asked = Question(self._scores(S, x), self.n_items, wanted, story, stop)
        choice = self._variant.choose(asked)
        after = self.model.intent_posterior(S, x)[0]
        was, now = shift(before, after, self.model.anchors.names)
        notes = [
            reading.note,
            choice.note,
            *notes_on(
                noun,
                cold=not self.history,
                n_chosen=len(choice.items),
                n_items=self.n_items,
                refusals=bool(wanted.not_genres),
                n_dropped=n_dropped,
            ),
        ]
        tokens = [sum(both) for both in zip(reading.tokens, choice.tokens, strict=True)]
        return Turn(
            number=len(self.turns) + 1,
            message=message,
            items=choice.items,
            intents_before=was,
            intents_after=now,
            note=" ".join(note for note in notes if note),
            variant=self.variant,
            requirements=wanted.found,
            relaxed=choice.relaxed,
            candidates=choice.candidates,
            reranked=choice.reranked,
            choosing_tokens=(tokens[0], tokens[1]),
        )

    def _scores(self, S: Tensor, x: Tensor) -> Tensor:
        """log p(v | S, x), [V + 1]; minus infinity for what was seen, offered or rejected."""
        scores = self.model.scores(S, x)[0].clone()
        gone = [0, *self.history, *self.offered, *self.feedback, *self._nameless]
        scores[gone] = -torch.inf
        if not torch.isfinite(scores).any():
            raise MessageError(
                f"Nothing is left to offer: every item of {self.model.data.name} is in the history "
                "or was offered. Undo a turn or start a new conversation."
            )
        return scores

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


def _check_stop(stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        raise StoppedError("Stopped before anything was chosen; the message was not used.")
