"""A conversation, and what a message does to it: say -> belief -> policy.select -> reply."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.constraints.extraction import Extractor, How, make_extractor
from latentcrs_utils.constraints.negation import negation_in
from latentcrs_utils.constraints.vocabulary import vocabulary_for
from latentcrs_utils.conversation import explanation, policies, transcript
from latentcrs_utils.conversation.belief import N_LEADERS, Beliefs, read_text
from latentcrs_utils.conversation.guards import clean_message
from latentcrs_utils.conversation.in_words import pattern_of, render, words_of
from latentcrs_utils.conversation.listener import listener_for
from latentcrs_utils.conversation.policies import AskPolicy, FilterPolicy, Policy, RerankPolicy
from latentcrs_utils.conversation.reply import in_full, question_about, template_reply, word_reply
from latentcrs_utils.conversation.turn import (
    Event,
    Feedback,
    Kind,
    PolicyName,
    Push,
    State,
    Turn,
    Withdrawal,
    describe,
)
from latentcrs_utils.errors import ConfigError, DataError, LatentCRSError, MessageError

if TYPE_CHECKING:
    from latentcrs_utils.em.model import LatentCRS
    from latentcrs_utils.language.chat_model import ChatModel

Watch = Callable[[str, Turn | None], None]
Wording = Literal["template", "model"]
_BUSY = "Another message is being answered: wait until that is done."
STAGES = ("reading", "choosing", "writing")


class StoppedError(LatentCRSError):
    """The user stopped a message before items were chosen; the conversation is as it was before."""


class Conversation(State):
    """A conversation between one user and a model that `fit_em` returned.

    Every message is joined to those before it, embedded, and turned into a belief; a policy chooses
    items that were neither seen nor offered by the scores of that belief, and a reply introduces
    them. What is no wish gets a short answer: a turn of number 0, which is not among `turns`. A
    refused or stopped message leaves the conversation as it was. An unknown user or item, and a
    turn that is none of this conversation, is a `DataError`, a senseless setting a `ConfigError`.

    Args:
        user: a user id of the data's provider (42), whose history without its last item, the one
            that the course keeps aside for testing, is what the model knows; None for a stranger.
        history: item ids, oldest first, that somebody without a number liked: a history built by
            clicking; not together with `user`.
        chat_model: serves F and V, and words replies; "local" is the language model that embeds the
            messages; None for none. If it (or the embedder) reads other languages than English, set
            its attribute `multilingual`.
        n_items: how many items a turn offers, at least 1.
        policy: "B", "A", "F" or "V", or one of your own, such as that of a rival; `use` changes
            it. F did best with validation users and a list of wishes (`experiments.wishes`).
        extractor: who reads the requirements of F: "lexicon" (the default takes no time), "model",
            "both", or an extractor of your own; without a chat model the lexicon alone.
        rerank: how V re-orders.
        wording: who words the replies: a "template", which says nothing but facts of the data, or
            the chat "model", under guards; `use_wording` changes it.
    """

    def __init__(
        self, model: "LatentCRS", user: int | str | None = None, *,
        history: Iterable[int] | None = None,
        chat_model: "ChatModel | Literal['local'] | None" = "local", n_items: int = 5,
        policy: PolicyName | Policy = "F", extractor: Extractor | How = "lexicon",
        rerank: RerankConfig | None = None, wording: Wording = "template",
    ):  # fmt: skip
        if type(n_items) is not int or n_items < 1:
            raise ConfigError(f"A turn offers at least one item, not {n_items!r}.")
        if user is not None and history is not None:
            raise ConfigError(f"User {user} has a history: give a user or a history, not both.")
        self.model, self.user, self.n_items, data = model, user, n_items, model.data
        start: Iterable[int] = () if history is None else history
        if user is not None:
            start = data.histories("test")[data.user_index(user)]
        super().__init__(map(data.valid_item, start))
        self.beliefs = Beliefs(model)
        self._chat_model, self._free = chat_model, threading.Lock()
        self.use_wording(wording)
        self._policies: dict[str, Policy] = {
            "B": Policy(data), "A": AskPolicy(data),
            "F": FilterPolicy(data, lambda: self.chat_model, extractor),
            "V": RerankPolicy(data, lambda: self.chat_model, rerank),
        }  # fmt: skip
        self.use(policy)

    @property
    def policy(self) -> PolicyName:
        """How the items of the next message are chosen."""
        return self._policy.name

    def use(self, policy: PolicyName | Policy) -> None:
        """Choose by another policy from the next message on; what F required stays."""
        if not isinstance(policy, Policy):
            if policy not in self._policies:
                raise ConfigError(f"There is no policy {policy!r}: choose 'B', 'A', 'F' or 'V'.")
            policy = self._policies[policy]
        self._policy = policy

    def use_wording(self, wording: Wording) -> None:
        """Word the replies by "template" or by the chat "model" (else: `ConfigError`)."""
        if wording not in get_args(Wording):
            raise ConfigError(f"There is no wording {wording!r}: choose 'template' or 'model'.")
        self.wording: Wording = wording

    @property
    def chat_model(self) -> "ChatModel | None":
        """The language model, which is loaded at first use."""
        if self._chat_model == "local":
            from latentcrs_utils.language.local_chat_model import LocalChatModel

            self._chat_model = LocalChatModel(self.model.language.embedder.language_model)
        return self._chat_model

    def say(
        self, text: str, *, stream: Callable[[str], None] | None = None,
        stop: threading.Event | None = None, watch: Watch = lambda stage, turn: None,
    ) -> Turn:  # fmt: skip
        """Answer a message of at most `MESSAGE_LIMIT` characters by a turn, the last of `answers`.

        Args:
            stream: called with each new sentence of the reply, already checked.
            stop: set it from another thread to stop: before items are chosen the message is
                dropped, afterwards the reply is cut short.
            watch: called with "reading", "choosing" and "writing" when each begins, the last time
                with the turn as far as it is known: items and intents, no reply.

        An empty or too long message, one while another is answered, or no item left to offer, is a
        `MessageError`, a stop before items were chosen a `StoppedError`, and a language model that
        cannot do what the policy asks of it a `ConfigError`.
        """
        if not self._free.acquire(blocking=False):
            raise MessageError(_BUSY)
        try:
            return self._answer(text, stream, stop or threading.Event(), watch)
        finally:
            self._free.release()

    def _answer(
        self, text: str, stream: Callable[[str], None] | None, stop: threading.Event, watch: Watch
    ) -> Turn:
        message, policy = clean_message(text), self._policy
        message = in_full(message, self.turns[-1].reply if self.turns else "")
        data, listener = self.model.data, listener_for(self.model.data, policy.noun)
        readers = self.model.language.embedder, self._chat_model
        english_only = not any(getattr(reader, "multilingual", False) for reader in readers)
        if answer := listener.answer(message, len(self.answers), english_only):
            known = self.requirements.found
            turn = Turn(0, message, (), {}, {}, answer, policy=policy.name, requirements=known)
            self.events += (turn,)
            return turn
        history, said, begun = self.history, [*self.messages, message], list[float]()

        def begin(stage: str, turn: Turn | None = None) -> None:
            if begun and stop.is_set():
                raise StoppedError("Stopped before anything was chosen; the message was not used.")
            begun.append(time.perf_counter())
            watch(stage, turn)

        begin("reading")
        pushes = self._answer_in(message)
        before = self.beliefs(history, self.messages, self.pushes)
        belief = self.beliefs(history, said, self.pushes + pushes)
        offered = [item.item for turn in self.turns[-1:] for item in turn.items]
        parsed = policy.parse(message, self.requirements, stop, offered)
        wanted = parsed.requirements
        scores, n = belief.scores[0].clone(), self.n_items  # their terms read the words, too
        begin("choosing")
        span = scores[1:].max() - scores[1:].min() + 1
        for item, sign in (by_title := listener.by_title(said)).items():
            scores[item] += sign * span
        who = -1 if self.user is None else data.user_index(self.user)
        request = policies.Request(scores, self.excluded, n, wanted, history, said, stop, who)
        slate = policy.select(request)
        if not slate.items and slate.asked is None:
            left = words_of("replies")["more"]["nothing_left"].format(data.name)
            raise MessageError(slate.note * (len(self.excluded) < data.n_items) or left)
        was, now = belief.shift_from(before)
        seen = {item for turn in self.turns for _, item, _ in turn.question} | self.excluded
        untold, n_dropped = listener.untold(message), read_text(said)[1]
        facts = {"parsed": parsed, "slate": slate, "request": request, "by_title": by_title}
        note = render("note", **facts, noun=policy.noun, n_dropped=n_dropped)
        unused = render("untold", **facts, untold=untold, held=listener.held) if untold else ""
        n_read = parsed.prompt_tokens + slate.tokens[0] + slate.prior_tokens
        n_written = parsed.completion_tokens + slate.tokens[1]
        turn = Turn(
            number=len(said), message=message, intents_before=was, intents_after=now,
            items=tuple(replace(i, score=float(belief.scores[0, i.item])) for i in slate.items),
            note=" ".join(note.split()), policy=policy.name, requirements=wanted.found,
            relaxed=slate.relaxed, candidates=slate.candidates, reranked=slate.reranked,
            choosing_tokens=(n_read, n_written), counted=parsed.counted and slate.counted,
            question=policy.question(belief, seen.union(item.item for item in slate.items)),
            pushes=pushes,
        )  # fmt: skip
        begin("writing", turn)
        if slate.asked is not None:
            turn = replace(turn, reply=question_about(slate.asked))
            self.events += (turn,)
            return turn
        wish = wanted if policy.name == "F" else make_extractor(data)(message).requirements
        turn = word_reply(
            replace(turn, reply=template_reply(turn, wish, data, bool(history), not untold)),
            self.chat_model if self.wording == "model" else None, data,
            previous=[turn.reply for turn in self.turns], stream=stream, stop=stop,
        )  # fmt: skip
        titles = [title for *_, title in turn.question]
        asked = words_of("replies")["asking"]["question"].format(*titles) if titles else ""
        turn = replace(turn, reply=" ".join(filter(None, (turn.reply, unused, asked))))
        spent = [round(b - a, 4) for a, b in pairwise([*begun, time.perf_counter()])]
        turn = replace(turn, seconds=dict(zip(STAGES, spent, strict=True)))
        self.events += (turn,)
        return turn

    def _answer_in(self, message: str) -> tuple[Push, ...]:
        """The push that a message is, if it names one film of the question before it."""
        asked = {item: intent for turn in self.turns[-1:] for intent, item, _ in turn.question}
        found, shown = vocabulary_for(self.model.data).titles.find(message), (*asked.values(),)
        named = {asked[item]: negation_in(message).of(title.start, title.end)[0] == "asked"
                 for title in found for item in title.items if item in asked}  # fmt: skip
        for j, forms in zip(shown, words_of("replies")["asking"]["places"], strict=False):
            named |= {j: True} if pattern_of(forms).fullmatch(message.strip(" .!")) else {}
        return tuple(Push(j, more, shown) for j, more in named.items() if len(named) == 1)

    def retry(self, text: str | None = None, **how: Any) -> Turn:
        """Answer the last message again (`how`: as of `say`): after a stop, or by another policy.

        A `text` takes its place. Its turn, and the clicks and withdrawals after it, are taken back,
        but not the pushes; whatever goes wrong before there are items, all of it is there again.
        Nothing to answer is a `MessageError`.
        """
        if not self.answers:
            raise MessageError("There is no message to answer again: say something first.")
        as_it_was, last = self.events, self.answers[-1]
        if self._free.locked():
            raise MessageError(_BUSY)
        try:
            at = self.events.index(last)
            pushes = (event for event in self.events[at:] if isinstance(event, Push))
            self.events = (*self.events[:at], *pushes)
            return self.say(last.message if text is None else text, **how)
        except BaseException:
            self.events = as_it_was
            raise

    def accept(self, item: int) -> None:
        """Note that the user likes an item: it joins the history from the next message on."""
        self._click("accept", item)

    def reject(self, item: int) -> None:
        """Note that the user does not want an item: it is never offered (again)."""
        self._click("reject", item)

    def _click(self, kind: Kind, item: int) -> None:
        item = self.model.data.valid_item(item)
        if self.feedback.get(item) != kind:
            self.events += (Feedback(kind, item),)

    def withdraw(self, constraint: Constraint | str) -> None:
        """Take back a requirement, by itself or as written; DataError: it is not required."""
        known = {str(known): known for known in self.requirements.constraints}
        if str(constraint) not in known:
            raise DataError(f"{str(constraint)!r:.60} is not among the requirements.")
        self.events += (Withdrawal(known[str(constraint)]),)

    def push(self, name: str, more: bool = True) -> None:
        """Ask for more of one of the leading intents (`leaders`), or for none of it, by its name.

        The belief moves by Bayes' rule, once (`steering`). DataError: an intent that does not lead.
        """
        shown, names = self.leaders(), self.model.anchors.names
        if name not in shown:
            raise DataError(f"{name!r:.60} is none of the intents shown: {', '.join(shown)}.")
        if self.pushed.get(name) != more:
            self.events += (Push(names.index(name), more, tuple(map(names.index, shown))),)

    @property
    def pushed(self) -> dict[str, bool]:
        """The last push on every intent that was pushed, by name: whether more is wanted."""
        return {self.model.anchors.names[push.intent]: push.more for push in self.pushes}

    def leaders(self) -> list[str]:
        """Names of the intents that lead as things stand, which can be pushed."""
        return [*self.intents()][:N_LEADERS]

    def undo(self) -> Event | None:
        """Take back the last message, click, push or withdrawal; returns it, None without one."""
        *kept, last = self.events or (None,)
        self.events = tuple(kept)
        return last

    def intents(self) -> dict[str, float]:
        """p(m | S, x) as things stand, by intent name, the most probable first."""
        values = self.beliefs(self.history, self.messages, self.pushes).intents[0].tolist()
        named = zip(self.model.anchors.names, values, strict=True)
        return dict(sorted(named, key=lambda pair: -pair[1]))

    def label(self, item: int) -> str:
        """Title and year of an item."""
        return describe(self.model.data, item).label

    def why(self, turn: Turn) -> tuple[str, ...]:
        """A sentence on why each item of a turn was offered, see `explanation.why`."""
        return explanation.why(turn, self.before(turn), self.beliefs) if turn.number else ()

    def explain(self, turn: Turn) -> explanation.Explanation:
        """What happened in a turn, see `explanation.explain`."""
        return explanation.explain(turn, self.before(turn), self.beliefs)

    def transcript(self) -> dict[str, Any]:
        """The whole conversation as JSON types; `from_transcript` reads it."""
        setting = {"user": self.user, "n_items": self.n_items, "policy": self.policy}
        return transcript.write(self.model.data, self, model=self.model.name, **setting)

    def markdown(self) -> str:
        """The whole conversation as Markdown, a reason for every item; foreign text is escaped."""
        return f"{render('transcript', talk=self, noun=self._policy.noun).rstrip()}\n"

    @classmethod
    def from_transcript(
        cls, model: "LatentCRS", values: Mapping[str, Any], **options: Any
    ) -> "Conversation":
        """The conversation that `transcript` described, ready to go on; nothing is generated again.

        `options` are other settings of a new conversation; a policy other than the transcript's
        holds from the next message on. A transcript that is damaged, or belongs to another
        catalogue than the model's, is a `DataError`.
        """
        setting, state = transcript.read(model.data, values)
        conversation = cls(model, **{**setting, **options})
        conversation.start, conversation.events = state.start, state.events
        return conversation
