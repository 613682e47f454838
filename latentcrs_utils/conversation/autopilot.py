"""Lets a simulated user hold the conversation, one `step` a message: no threads, no waiting."""

from typing import Any

import numpy as np

from latentcrs_utils.constraints.constraint import matcher_for
from latentcrs_utils.conversation.in_words import render
from latentcrs_utils.conversation.policies import relax, untitled
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import Turn
from latentcrs_utils.errors import DataError
from latentcrs_utils.ranking import mask_items
from latentcrs_utils.simulation.agenda import Difficulty, Level, TestCase, can_be_named, generator
from latentcrs_utils.simulation.users import Accept, SimulatedUser, TemplateUser, make_test_cases

MAX_TURNS = 5  # then a simulated user gives up, as in the paper's evaluation


class Autopilot:
    """Lets a simulated user lead a conversation to the item that it has in mind.

    It accepts that item (a `DataError` if the catalogue does not have it), and refuses every other
    one that it is offered. After each turn without it, `places` gets the place of that item (1 is
    the next to be offered) among all that can still be offered.
    """

    def __init__(self, conversation: Conversation, user: SimulatedUser):
        self.conversation, self.user = conversation, user
        self.goal = conversation.label(user.target)  # a secret to whoever guesses
        self.n_turns = 0  # answered messages
        self.outcome: str | None = None  # or "accepted", or "gave up after 5 turns"
        self.places: list[int] = []
        self._message: str | None = None
        self._offered: list[int] = []

    def next_message(self) -> str | None:
        """What the user says next, before it is answered; None: all is over."""
        if self.outcome is None and self._message is None:
            self._react()
        return self._message

    def step(self, **how: Any) -> Turn | None:
        """Say the user's next message, and let the user react to the offer; None after the end.

        `how` and errors are as of `Conversation.say`; the next step then says the same message.
        """
        message = self.next_message()
        if message is None:
            return None
        turn = self.conversation.say(message, **how)
        self.n_turns += 1
        self._message, self._offered = None, [item.item for item in turn.items]
        if self.user.target not in self._offered:
            self.places.append(self._place())
        self._react()
        return turn

    @property
    def verdict(self) -> str:
        """What the user made of the latest offer, in words; "" before the first turn."""
        return render("verdict", pilot=self)

    @property
    def turns(self) -> str:
        """How many messages were answered, in words."""
        return f"{self.n_turns} turn{'s' * (self.n_turns != 1)}"

    def _place(self) -> int:
        """Place of the target among what can be offered, of V in the order of the recommender."""
        talk, data = self.conversation, self.conversation.model.data
        (scores,) = talk.beliefs(talk.history, talk.messages).scores
        scores = mask_items(scores, {*talk.excluded, *untitled(data)})
        if talk.policy == "F":
            scores = relax(scores, matcher_for(data), talk.requirements)
        return 1 + int((scores > scores[self.user.target]).sum())

    def _react(self) -> None:
        """Let the user see the latest offer: it accepts, refuses and says more, or leaves."""
        catalogue = matcher_for(self.conversation.model.data).catalogue
        found = not catalogue.same([self.user.target]).isdisjoint(self._offered)
        last = self.n_turns >= MAX_TURNS and not found
        answer = None if last else self.user.say(self._offered)
        if isinstance(answer, Accept):
            self.conversation.accept(answer.item)
            self.outcome = "accepted"
            return
        for item in self._offered:
            self.conversation.reject(item)
        self._offered = []
        if answer is None:
            self.outcome = f"gave up after {self.turns}"
        else:
            self._message = answer.text


def make_autopilot(
    conversation: Conversation, *, difficulty: Difficulty = "normal", level: Level = "paraphrased",
    seed: int = 0,
) -> Autopilot:  # fmt: skip
    """An autopilot with a template user, which costs nothing and never names its target.

    The conversation's user looks for the item that is kept aside for testing; a stranger, or
    somebody with a history of their own, for one drawn by the seed. DataError: an item that can no
    longer be offered; ConfigError: an unknown difficulty or level.
    """
    data = conversation.model.data
    catalogue = matcher_for(data).catalogue
    gone = {*catalogue.same(conversation.excluded), *untitled(data)}
    if conversation.user is None:
        index, history = 0, np.array(conversation.history, dtype=np.int64)
        left = [v for v in catalogue.items[1:] if v.item not in gone and can_be_named(v)]
        if not left:
            raise DataError("Nothing is left to look for: start a new conversation.")
        place = generator(seed, "a stranger's target").integers(len(left))
        test_case = TestCase(catalogue, left[int(place)], history)
    else:
        index = data.user_index(conversation.user)
        (test_case,) = make_test_cases(data, [index], catalogue)
    if test_case.target.item in gone:
        gone_for = f"What user {conversation.user} has in mind can no longer be offered"
        advice = "start a new conversation, or take another user"
        raise DataError(f"{gone_for} (it was already, or has no title): {advice}.")
    user = TemplateUser(test_case, user=index, seed=seed, difficulty=difficulty, level=level)
    return Autopilot(conversation, user)
