"""Simulated users for whole dialogues: they know what they want, refuse, and accept only that.

:mod:`.simulator` writes what users might say in advance; here a user answers what is really on
offer. The rules are those of the paper's prompt (Appendix D): lead to the target, refuse anything
else and tell why or what is wanted, at most two new constraints a message, never the title.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.simulation.agenda import (
    DIFFICULTIES,
    USER_PROFILES,
    DialogueAct,
    DialogueState,
    Difficulty,
    UserGoal,
    answer,
    least,
    opening,
)
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.phrasings import POOLS, Pool, Voice
from latentcrs_utils.simulation.planner import LEVELS, Level, TestCase, generator
from latentcrs_utils.simulation.realization import first_clean, word_accept, word_act

HeldOut = Literal["test", "valid"]
HELD_OUT: tuple[HeldOut, ...] = get_args(HeldOut)
"""Splits whose targets users may have in mind."""
# Plans for one message, at most; the second or third one can nearly always be worded.
_PLANS = 20
# Wordings of a sentence, of which one begins unlike the sentence before it.
_TRIES = 4


@dataclass(frozen=True)
class UserMessage:
    """What a simulated user says.

    Attributes:
        text: the message.
        constraints: what it says that was not said before.
        withdrawn: what it takes back.
        source: who worded it, "template" or the name of a language model.
        prompt_tokens, completion_tokens, seconds: the language model's bill.
    """

    text: str
    constraints: tuple[Constraint, ...] = ()
    withdrawn: tuple[Constraint, ...] = ()
    source: str = "template"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Accept:
    """The user takes an offered item, and the dialogue is over."""

    item: int
    text: str


class SimulatedUser(Protocol):
    """Anybody who looks for one item in a dialogue."""

    @property
    def target(self) -> int:
        """Id of the item that the user has in mind."""
        ...

    def say(self, offered: Sequence[int] = ()) -> UserMessage | Accept | None:
        """Answer to the items on offer, best first; before the first offer there are none.

        None: the user has nothing more to say and leaves.
        """
        ...


class TemplateUser:
    """A user with an agenda and a phrase book: seeded, free, and true to its target.

    Two users of equal arguments who are offered the same say the same, whoever else is asked. The
    first message does not depend on the system, so all systems begin alike.

    Args:
        test_case: target and history.
        user: number of the user, part of the seed.
        seed: of every choice.
        difficulty: how forthcoming the user is, and whether it changes its mind.
        level: of the language, as in `simulate_utterances`.
        phrasing: the pool that the words come from; "test" stands nowhere in training.
        config: weights of the wishes.

    Attributes:
        messages: what was said so far.

    Raises:
        ConfigError: an unknown difficulty, level or pool.
    """

    def __init__(
        self,
        test_case: TestCase,
        *,
        user: int = 0,
        seed: int = 0,
        difficulty: Difficulty = "normal",
        level: Level = "paraphrased",
        phrasing: Pool = "test",
        config: SimulatorConfig | None = None,
    ):
        for name, value, known in (
            ("difficulty", difficulty, DIFFICULTIES),
            ("level", level, LEVELS),
            ("phrasing", phrasing, POOLS),
        ):
            if value not in known:
                raise ConfigError(f"There is no {name} {value!r}. Known: {', '.join(known)}.")
        self.test_case, self.level, self.phrasing = test_case, level, phrasing
        self.messages: list[str] = []
        self._mind = UserGoal(
            test_case, level, USER_PROFILES[difficulty], config or SimulatorConfig()
        )
        self._seed = (seed, user, len(test_case.history), test_case.target.item)
        self._memory = DialogueState()

    @property
    def target(self) -> int:
        """Id of the item that the user has in mind."""
        return self.test_case.target.item

    @property
    def standing(self) -> tuple[Constraint, ...]:
        """The constraints that were said and not taken back."""
        return self._memory.known

    def say(self, offered: Sequence[int] = ()) -> UserMessage | Accept:
        """Answer to the items on offer, best first; before the first offer there are none.

        Raises:
            DataError: an unknown item, or no phrase of the book keeps the title secret.
        """
        films = self.test_case.catalogue.films
        if not all(1 <= item < len(films) for item in offered):
            raise DataError(f"Item ids go from 1 to {len(films) - 1}, not {list(offered)}.")
        if self.target in offered:
            voice = self._voice("accept")
            text = first_clean(lambda: word_accept(voice), self.messages, self.test_case.target)
            return Accept(self.target, text or "")
        for attempt, (acts, memory, again) in enumerate(self._plans(offered)):
            text = self._word(acts, attempt, again)
            if text is not None:
                self.messages.append(text)
                self._memory = memory
                return UserMessage(
                    text,
                    tuple(c for act in acts for c in act.turn.constraints),
                    tuple(act.withdrawn for act in acts if act.withdrawn is not None),
                )
        raise DataError(
            f"Nothing can be said about {self.test_case.target.title!r} without a word of its "
            "title: add phrases to simulation/phrase_books."
        )

    def note(self, message: str) -> None:
        """Count a message that somebody else said in this user's place."""
        self.messages.append(message)

    def _plans(
        self, offered: Sequence[int]
    ) -> Iterator[tuple[list[DialogueAct], DialogueState, bool]]:
        """Yield what might be said next, the most wanted first, what is known after it, and
        whether it may be said in words that were used before.
        """
        number = len(self.messages) + 1
        # plain and paraphrased users begin with the same wish
        content = "attributes" if self.level in ("plain", "paraphrased") else self.level
        films = [self.test_case.catalogue[item] for item in offered]
        for attempt in range(_PLANS):
            rng = generator(self._seed[0], "agenda", *self._seed[1:], content, number, attempt)
            if number == 1:
                act, memory = opening(rng, self._mind)
                yield [act], memory, False
            else:
                acts = answer(rng, self._mind, number, self._memory, films)
                yield acts, self._memory.after(acts), False
        acts = [least(number, self._memory)]
        for again in (False, True):
            yield acts, self._memory.after(acts), again

    def _word(self, acts: Sequence[DialogueAct], attempt: int, again: bool) -> str | None:
        """Return words for some acts that keep the title secret, or None."""
        voice, catalogue = self._voice("words", attempt), self.test_case.catalogue

        def write() -> str:
            said: list[str] = []
            for act in acts:
                tries = [word_act(voice, act, catalogue) for _ in range(_TRIES if said else 1)]
                begun = {text.split()[0] for text in said}
                said.append(next((t for t in tries if t.split()[0] not in begun), tries[0]))
            return " ".join(said)

        target = self.test_case.target
        text = first_clean(write, [] if again else self.messages, target)
        if text is None or target.leaks_title(" ".join([*self.messages, text])):
            return None
        return text

    def _voice(self, purpose: str, attempt: int = 0) -> Voice:
        """Return the voice of the next message."""
        parts = (*self._seed[1:], self.level, self.phrasing, len(self.messages) + 1, attempt)
        rng = generator(self._seed[0], purpose, *parts)
        return Voice(
            rng, self.phrasing, self.test_case.catalogue.domain, plain=self.level == "plain"
        )


def make_test_cases(
    data: Dataset,
    users: Sequence[int],
    catalogue: Catalogue | None = None,
    split: HeldOut = "test",
) -> list[TestCase]:
    """Return what some users have in mind: the held-out item, and the items liked before.

    Args:
        data: the data set.
        users: user indices, 0..U-1.
        catalogue: of the same data set, where it is at hand.
        split: "test", the last item of each user; "valid", the last but one.
    """
    catalogue = catalogue or Catalogue(data)
    histories, targets = data.histories(split), data.targets(split)
    return [
        TestCase(catalogue, catalogue[int(targets[user])], histories[int(user)]) for user in users
    ]
