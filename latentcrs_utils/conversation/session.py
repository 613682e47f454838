"""A conversation, and what a message does to it: say -> belief -> policy.select -> reply."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.constraint import Constraint, Requirements
from latentcrs_utils.constraints.extraction import Extractor, How
from latentcrs_utils.conversation import explanation, transcript
from latentcrs_utils.conversation.belief import Belief, Beliefs, read_text
from latentcrs_utils.conversation.guards import ReplyGuard, clean_message
from latentcrs_utils.conversation.policies import (
    FilterPolicy,
    Parsed,
    Policy,
    Request,
    RerankPolicy,
    Slate,
)
from latentcrs_utils.conversation.reply import word_reply
from latentcrs_utils.conversation.turn import (
    Event,
    Feedback,
    Kind,
    PolicyName,
    State,
    Turn,
    Withdrawal,
    describe,
    known_item,
)
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

    Every message is joined to those before it, embedded, and turned into a belief; a policy chooses
    items that were neither seen nor offered by the scores of that belief, and the reply around them
    is worded by a language model, under guards. A refused or stopped message leaves the
    conversation as it was.

    Args:
        model: what `fit_em` returned.
        user: a user id of the data's provider (42), whose history without its last item, the one
            that the course keeps aside for testing, is what the model knows; None for a stranger.
        history: item ids, oldest first, that somebody without a number liked: a history built by
            clicking; not together with `user`.
        chat_model: the language model that words the replies, and serves F and V; "local" is the
            one that embeds the messages; None for plain templates only.
        n_items: how many items a turn offers.
        policy: "B", "F" or "V"; `use` changes it.
        extractor: who reads the requirements of F: "lexicon" (the default takes no time), "model",
            "both", or an extractor of your own; without a chat model the lexicon alone.
        rerank: how V re-orders.

    Raises:
        DataError: an unknown user or item.
        ConfigError: `n_items` below 1, both a user and a history, or no such policy or extractor.
    """

    def __init__(
        self,
        model: "LatentCRS",
        user: int | str | None = None,
        *,
        history: Iterable[int] | None = None,
        chat_model: "ChatModel | Literal['local'] | None" = "local",
        n_items: int = 5,
        policy: PolicyName = "B",
        extractor: Extractor | How = "lexicon",
        rerank: RerankConfig | None = None,
    ):
        if n_items < 1:
            raise ConfigError(f"A turn offers at least one item, not {n_items}.")
        if user is not None and history is not None:
            raise ConfigError(
                f"User {user} has a history: give the user, or a history of your own, not both."
            )
        self.model, self.user, self.n_items = model, user, n_items
        start: Iterable[int] = history or ()
        if user is not None:
            start = model.data.histories("test")[model.data.user_index(user)]
        self.state = State(tuple(known_item(model.data, item) for item in start))
        self.beliefs = Beliefs(model)
        self._chat_model, self._extractor, self._rerank = chat_model, extractor, rerank
        self._guard: ReplyGuard | None = None
        self._policies: dict[PolicyName, Policy] = {}
        self.use(policy)

    @property
    def turns(self) -> list[Turn]:
        """The turns so far."""
        return self.state.turns

    @property
    def messages(self) -> list[str]:
        """The user's messages so far; joined by a space they are x^u."""
        return self.state.messages

    @property
    def offered(self) -> list[int]:
        """Ids of all items offered so far."""
        return self.state.offered

    @property
    def feedback(self) -> dict[int, Kind]:
        """The last word on every item that was accepted or rejected, by item id."""
        return self.state.feedback

    @property
    def history(self) -> list[int]:
        """Item ids that the behavior side sees: the known history, then the accepted items."""
        return self.state.history

    @property
    def requirements(self) -> Requirements:
        """What policy F holds items to as things stand, each with the words that say so."""
        return self.state.requirements

    @property
    def belief(self) -> Belief:
        """S, x and p(m | S, x) as things stand."""
        return self.beliefs(self.history, self.messages)

    @property
    def policy(self) -> PolicyName:
        """How the items of the next message are chosen."""
        return self._policy.name

    def use(self, policy: PolicyName) -> None:
        """Choose items by another policy from the next message on.

        What F required stays known while B or V choose, who do not ask for it.

        Raises:
            ConfigError: there is no such policy or extractor; the old one stays.
        """
        if policy not in self._policies:
            data, chat_model = self.model.data, lambda: self.chat_model
            makers: dict[str, Callable[[], Policy]] = {
                "B": lambda: Policy(data),
                "F": lambda: FilterPolicy(data, chat_model, self._extractor),
                "V": lambda: RerankPolicy(data, chat_model, self._rerank),
            }
            if policy not in makers:
                raise ConfigError(f"There is no policy {policy!r}: choose 'B', 'F' or 'V'.")
            self._policies[policy] = makers[policy]()
        self._policy = self._policies[policy]

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
        watch: Watch = lambda stage, turn: None,
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
            ConfigError: the language model cannot do what the policy asks of it.
            StoppedError: `stop` was set before items were chosen.
        """
        message, state, policy = clean_message(text), self.state, self._policy
        history, said = state.history, [*state.messages, message]
        times = [time.perf_counter()]
        watch("reading", None)
        before, belief = self.beliefs(history, state.messages), self.beliefs(history, said)
        parsed = policy.parse(message, state.requirements, stop)
        times.append(time.perf_counter())
        _check_stop(stop)
        watch("choosing", None)
        scores, wanted = belief.scores[0], parsed.requirements
        slate = policy.select(
            Request(scores, state.excluded, self.n_items, wanted, history, said, stop)
        )
        chosen = self._turn(said, belief.shift_from(before), policy, parsed, slate)
        times.append(time.perf_counter())
        _check_stop(stop)
        watch("writing", chosen)
        self._guard = self._guard or ReplyGuard(self.model.data.titles)
        turn = word_reply(
            chosen,
            self.chat_model,
            self._guard,
            noun=policy.noun,
            has_history=bool(history),
            previous=[turn.reply for turn in state.turns],
            stream=stream,
            stop=stop,
        )
        times.append(time.perf_counter())
        spent = (round(end - start, 4) for start, end in pairwise(times))
        turn = replace(turn, seconds=dict(zip(STAGES, spent, strict=True)))
        self.state = state.then(turn)
        return turn

    def _turn(
        self,
        said: list[str],
        shift: tuple[dict[str, float], dict[str, float]],
        policy: Policy,
        parsed: Parsed,
        slate: Slate,
    ) -> Turn:
        """The turn without its reply."""
        state, data = self.state, self.model.data
        if not slate.items:
            raise MessageError(
                f"Nothing is left to offer: every item of {data.name} is in the history or was "
                "offered. Undo a turn or start a new conversation."
            )
        notes = [parsed.note, slate.note]
        if not state.history:
            notes.append(
                f"No history is known, so these {policy.noun}s follow from your words alone."
            )
        if len(slate.items) < self.n_items:
            refused = ", or is what you refused" if parsed.requirements.not_genres else ""
            notes.append(
                f"Only {len(slate.items)} of the {self.n_items} places could be filled: the rest "
                f"of the catalogue was seen or offered{refused}."
            )
        if dropped := read_text(said)[1]:
            notes.append(f"The dialogue is long: its first {dropped} messages are no longer read.")
        return Turn(
            number=len(state.turns) + 1,
            message=said[-1],
            items=slate.items,
            intents_before=shift[0],
            intents_after=shift[1],
            note=" ".join(filter(None, notes)),
            policy=policy.name,
            requirements=parsed.requirements.found,
            relaxed=slate.relaxed,
            candidates=slate.candidates,
            reranked=slate.reranked,
            choosing_tokens=(
                parsed.tokens[0] + slate.tokens[0] + slate.prior_tokens,
                parsed.tokens[1] + slate.tokens[1],
            ),
            counted=parsed.counted and slate.counted,
        )

    def retry(self, **how: Any) -> Turn:
        """Answer the last message again: after a stop, or by another policy.

        Its turn, and the clicks and withdrawals after it, are taken back. Whatever goes wrong
        before there are items, all of it is there again.

        Args:
            how: `stream`, `stop` and `watch` as of `say`.

        Returns:
            The new turn.

        Raises:
            MessageError: nothing was said so far, or no item is left to offer.
            ConfigError, StoppedError: as of `say`.
        """
        as_it_was = self.state
        if not self.turns:
            raise MessageError("There is no message to answer again: say something first.")
        last = self.turns[-1]
        self.state = as_it_was.before(last)
        try:
            return self.say(last.message, **how)
        except BaseException:
            self.state = as_it_was
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

    def _note_feedback(self, kind: Kind, item: int) -> None:
        item = known_item(self.model.data, item)
        if self.feedback.get(item) != kind:
            self.state = self.state.then(Feedback(kind, item))

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
        self.state = self.state.then(Withdrawal(known[str(constraint)]))

    def undo(self) -> Event | None:
        """Take back the last message, click or withdrawal; returns it, None if nothing is left."""
        *kept, last = self.state.events or (None,)
        self.state = State(self.state.start, tuple(kept))
        return last

    def intents(self, top: int | None = None) -> dict[str, float]:
        """p(m | S, x) as things stand, by intent name, the most probable first.

        Args:
            top: how many; None for all.
        """
        values = self.belief.intents[0]
        order = values.argsort(descending=True, stable=True)[:top]
        return {self.model.anchors.names[j]: float(values[j]) for j in order.tolist()}

    def label(self, item: int) -> str:
        """Title and year of an item.

        Raises:
            DataError: there is no such item.
        """
        return describe(self.model.data, known_item(self.model.data, item)).label

    def why(self, turn: Turn) -> tuple[str, ...]:
        """A sentence on why each item of a turn was offered, see `explanation.why`.

        Raises:
            DataError: the turn is none of this conversation.
        """
        state = self.state.before(turn)
        belief = self.beliefs(state.history, [*state.messages, turn.message])
        return explanation.why(turn, state, belief)

    def explain(self, turn: Turn) -> explanation.Explanation:
        """What happened in a turn, see `explanation.explain`.

        Raises:
            DataError: the turn is none of this conversation.
        """
        state = self.state.before(turn)
        history, said = state.history, [*state.messages, turn.message]
        return explanation.explain(
            self.beliefs(history, said),
            self.beliefs(history, state.messages),
            history,
            said,
            [item.item for item in turn.items],
            excluded=state.excluded,
        )

    def transcript(self) -> dict[str, Any]:
        """The whole conversation as JSON types; `from_transcript` reads it."""
        setting = {"user": self.user, "n_items": self.n_items, "policy": self.policy}
        return transcript.write(self.model.name, self.model.data, self.state, setting)

    def markdown(self) -> str:
        """The whole conversation as a page of Markdown, with a reason for every item."""
        data, name = self.model.data, self.model.name
        return transcript.markdown(name, data, self.user, self.state, self.why)

    @classmethod
    def from_transcript(
        cls, model: "LatentCRS", values: Mapping[str, Any], **options: Any
    ) -> "Conversation":
        """The conversation that `transcript` described, ready to go on; nothing is generated again.

        Args:
            model: the model to go on with; its catalogue must be that of the transcript.
            values: what `transcript` returned, perhaps after a journey through JSON.
            options: other settings of a new conversation (`chat_model`, `policy`, `extractor`,
                `rerank`); a policy other than the transcript's holds from the next message on.

        Raises:
            DataError: the transcript is damaged or belongs to another catalogue.
        """
        setting, state = transcript.read(model.data, values)
        conversation = cls(model, **{**setting, **options})
        conversation.state = state
        return conversation


def _check_stop(stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        raise StoppedError("Stopped before anything was chosen; the message was not used.")
