"""The state of one conversation, and what a message does to it (variants B, F, V of the paper)."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.constraint import Constraint, Requirements
from latentcrs_utils.constraints.extraction import Extractor, How
from latentcrs_utils.conversation import transcript
from latentcrs_utils.conversation.belief import Encoder
from latentcrs_utils.conversation.guards import ReplyGuard, clean_message
from latentcrs_utils.conversation.offering import offer
from latentcrs_utils.conversation.policies import Basic, describe, known_item, make_variant
from latentcrs_utils.conversation.reply import thing, word_reply
from latentcrs_utils.conversation.turn import Event, Feedback, State, Turn, VariantName, Withdrawal
from latentcrs_utils.errors import ConfigError, DataError, LatentCRSError, MessageError

if TYPE_CHECKING:
    from latentcrs_utils.em.model import LatentCRS
    from latentcrs_utils.language.chat_model import ChatModel

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
        history: item ids, oldest first, that somebody without a number liked: a history built by
            clicking; not together with `user`.
        chat_model: the language model that words the replies, and serves F and V; "local" is the
            one that embeds the messages; None for plain templates only.
        n_items: how many items a turn offers.
        variant: "B", "F" or "V"; `use` changes it.
        extractor: who reads the requirements of F: "lexicon", "model", "both", or an extractor of
            your own; without a chat model the lexicon alone.
        rerank: how V re-orders.

    Raises:
        DataError: an unknown user or item.
        ConfigError: `n_items` below 1, both a user and a history, or no such variant or extractor.
    """

    def __init__(
        self,
        model: "LatentCRS",
        user: int | str | None = None,
        *,
        history: Iterable[int] | None = None,
        chat_model: "ChatModel | Literal['local'] | None" = "local",
        n_items: int = 5,
        variant: VariantName = "B",
        extractor: Extractor | How = "both",
        rerank: RerankConfig | None = None,
    ):
        if n_items < 1:
            raise ConfigError(f"A turn offers at least one item, not {n_items}.")
        if user is not None and history is not None:
            raise ConfigError(
                f"User {user} has a history: give the user, or a history of your own, not both."
            )
        self.model = model
        self.user = user
        self.n_items = n_items
        start: Iterable[int] = history or ()
        if user is not None:
            start = model.data.histories("test")[model.data.user_index(user)]
        self._state = State(tuple(known_item(model.data, item) for item in start))
        self._chat_model = chat_model
        self._guard: ReplyGuard | None = None
        self.encoder = Encoder(model)
        self._extractor, self._rerank = extractor, rerank or RerankConfig()
        self._variants: dict[VariantName, Basic] = {}
        self.use(variant)

    @property
    def state(self) -> State:
        """All that happened so far; `state.before(turn)` is what had happened at an earlier one."""
        return self._state

    @property
    def turns(self) -> list[Turn]:
        """The turns so far."""
        return self._state.turns

    @property
    def messages(self) -> list[str]:
        """The user's messages so far; joined by a space they are x^u."""
        return self._state.messages

    @property
    def offered(self) -> list[int]:
        """Ids of all items offered so far."""
        return self._state.offered

    @property
    def feedback(self) -> dict[int, Literal["accept", "reject"]]:
        """The last word on every item that was accepted or rejected, by item id."""
        return self._state.feedback

    @property
    def history(self) -> list[int]:
        """Item ids that the behavior side sees: the known history, then the accepted items."""
        return self._state.history

    @property
    def requirements(self) -> Requirements:
        """What variant F holds items to as things stand, each with the words that say so."""
        return self._state.requirements

    @property
    def variant(self) -> VariantName:
        """How the items of the next message are chosen."""
        return self._variant.name

    def use(self, variant: VariantName) -> None:
        """Choose items in another way from the next message on.

        What F required stays known while B or V choose, who do not ask for it.

        Args:
            variant: "B", "F" or "V".

        Raises:
            ConfigError: there is no such variant or extractor; the old one stays.
        """
        if variant not in self._variants:
            self._variants[variant] = make_variant(
                variant, self.model.data, lambda: self.chat_model, self._extractor, self._rerank
            )
        self._variant = self._variants[variant]

    @property
    def chat_model(self) -> "ChatModel | None":
        """The language model that words the replies; loaded at first use."""
        if self._chat_model == "local":
            from latentcrs_utils.language.local_chat_model import LocalChatModel

            self._chat_model = LocalChatModel(self.model.language.embedder.model)
        return self._chat_model

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
        state, variant = self._state, self._variant
        times = [time.perf_counter()]
        watch("reading", None)
        for messages in (state.messages, [*state.messages, message]):
            self.encoder.words(messages)
        reading = variant.read(message, state.requirements, stop)
        times.append(time.perf_counter())
        _check_stop(stop)
        watch("choosing", None)
        chosen = offer(self.encoder, state, message, variant, reading, self.n_items, stop)
        times.append(time.perf_counter())
        _check_stop(stop)
        watch("writing", chosen)
        turn = self._word(chosen, stream, stop)
        times.append(time.perf_counter())
        spent = (round(end - start, 4) for start, end in pairwise(times))
        turn = replace(turn, seconds=dict(zip(STAGES, spent, strict=True)))
        self._state = self._state.then(turn)
        return turn

    def retry(
        self,
        *,
        stream: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
        watch: Watch | None = None,
    ) -> Turn:
        """Answer the last message again: after a stop, or with another variant.

        Its turn, and the clicks and withdrawals after it, are taken back. Whatever goes wrong
        before there are items, all of it is there again.

        Args:
            stream, stop, watch: as of `say`.

        Returns:
            The new turn.

        Raises:
            MessageError: nothing was said so far, or no item is left to offer.
            ConfigError, StoppedError: as of `say`.
        """
        as_it_was = self._state
        if not self.turns:
            raise MessageError("There is no message to answer again: say something first.")
        last = self.turns[-1]
        self._state = as_it_was.before(last)
        try:
            return self.say(last.message, stream=stream, stop=stop, watch=watch)
        except BaseException:
            self._state = as_it_was
            raise

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

    def withdraw(self, constraint: Constraint | str) -> None:
        """Take back a requirement; the next message does without it.

        Args:
            constraint: as `requirements` has it, or its written form.

        Raises:
            DataError: it is not required.
        """
        known = {str(known): known for known in self.requirements.constraints}
        if str(constraint) not in known:
            raise DataError(f"{repr(str(constraint))[:60]} is not among the requirements.")
        self._state = self._state.then(Withdrawal(known[str(constraint)]))

    def undo(self) -> Event | None:
        """Take back the last message, click or withdrawal; returns it, None if nothing is left."""
        *kept, last = self._state.events or (None,)
        self._state = State(self._state.start, tuple(kept))
        return last

    def intents(self, top: int | None = None) -> dict[str, float]:
        """p(m | S, x) as things stand, by intent name, the most probable first.

        Args:
            top: how many; None for all.
        """
        values = self.encoder.intents(self.history, self.messages)
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
        return transcript.write(self)

    @classmethod
    def from_transcript(
        cls,
        model: "LatentCRS",
        values: Mapping[str, Any],
        *,
        chat_model: "ChatModel | Literal['local'] | None" = "local",
        **options: Any,
    ) -> "Conversation":
        """The conversation that `transcript` described, ready to go on; nothing is generated again.

        Args:
            model: the model to go on with; its catalogue must be that of the transcript.
            values: what `transcript` returned, perhaps after a journey through JSON.
            chat_model: as for a new conversation.
            options: other settings of a new conversation (`variant`, `extractor`, `rerank`); a
                variant other than the transcript's holds from the next message on.

        Raises:
            DataError: the transcript is damaged or belongs to another catalogue.
        """
        setting, events = transcript.read(model.data, values)
        start = tuple(known_item(model.data, item) for item in setting.pop("history"))
        conversation = cls(model, chat_model=chat_model, **{**setting, **options})
        conversation._state = State(start, tuple(events))
        return conversation

    def _note_feedback(self, kind: Literal["accept", "reject"], item: int) -> None:
        item = known_item(self.model.data, item)
        if self.feedback.get(item) != kind:
            self._state = self._state.then(Feedback(kind, item))

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
            self.chat_model,
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
