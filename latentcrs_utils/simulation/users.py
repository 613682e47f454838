"""Simulated users for whole dialogues: they know what they want, refuse, and accept only that.

:mod:`.utterances` writes in advance; here a user answers what is really on offer. The rules are
those of the paper's prompt (Appendix D): lead to the target, refuse anything else and tell why or
what is wanted, at most two new constraints a message, never the title.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, get_args

from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.simulation import agenda
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.phrase_book import POOLS, Pool
from latentcrs_utils.simulation.realization import Realizer, UnsayableError, first_clean

HeldOut = Literal["test", "valid"]
HELD_OUT: tuple[HeldOut, ...] = get_args(HeldOut)  # splits whose targets users may have in mind
_TRIES = 4  # wordings of a sentence, of which one begins unlike the sentence before it


@dataclass(frozen=True)
class UserMessage:
    """What a simulated user says, the constraints that it adds, and those that it takes back."""

    text: str
    constraints: tuple[Constraint, ...] = ()
    withdrawn: tuple[Constraint, ...] = ()
    source: str = "template"  # or the name of a language model
    prompt_tokens: int = 0  # these three of the language model that worded it
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

    def say(self, offered: Sequence[int] = ()) -> UserMessage | Accept | None:
        """Answer the items on offer, best first, none before the first offer; None: leave."""


class TemplateUser:
    """A user with an agenda and a phrase book: seeded, free, and true to its target.

    Users of equal arguments who are offered the same say the same, whoever else is asked; the first
    message is the same for all systems. ``messages`` holds what was said so far, also by somebody
    else in this user's place; ``state`` what of it counts. The number of the ``user`` is part of
    the seed, ``level`` that of `simulate_utterances`, ``phrasing`` the pool of the words; that of
    "test" is nowhere in training. ConfigError: an unknown difficulty, level or pool.
    """

    def __init__(
        self, test_case: agenda.TestCase, *, user: int = 0, seed: int = 0,
        difficulty: agenda.Difficulty = "normal", level: agenda.Level = "paraphrased",
        phrasing: Pool = "test", config: SimulatorConfig | None = None,
    ):  # fmt: skip
        known = {"difficulty": agenda.USER_PROFILES, "level": agenda.LEVELS, "phrasing": POOLS}
        for name, value in zip(known, (difficulty, level, phrasing), strict=True):
            if value not in known[name]:
                names = ", ".join(known[name])
                raise ConfigError(f"There is no {name} {value!r}. Known: {names}.")
        self.test_case, self.level, self.phrasing = test_case, level, phrasing
        self.target: int = test_case.target.item
        self.messages: list[str] = []
        self.state = agenda.DialogueState()
        self._config, self._profile = config or SimulatorConfig(), agenda.USER_PROFILES[difficulty]
        self._seed, self._who = seed, (user, len(test_case.history), self.target)

    def say(self, offered: Sequence[int] = ()) -> UserMessage | Accept:
        """Answer the offer, best first (at first none); DataError, `UnsayableError`."""
        catalogue, target = self.test_case.catalogue, self.test_case.target
        n_items = len(catalogue.items) - 1
        if not all(1 <= item <= n_items for item in offered):
            raise DataError(f"Item ids go from 1 to {n_items}, not {list(offered)}.")
        if found := catalogue.same([self.target]).intersection(offered):
            realizer, text = self._realizer("accept"), ""
            write = partial(realizer.choose_phrase, "replies", "accept", "any")
            with suppress(UnsayableError):
                text = first_clean(write, self.messages, target)
            return Accept(min(found, key=offered.index), text)
        for attempt, (acts, state, again) in enumerate(self._plans(offered)):
            write = partial(_sentences, self._realizer("words", attempt), acts)
            with suppress(UnsayableError):
                self.messages.append(first_clean(write, self.messages, target, again=again))
                self.state = state
                new = tuple(constraint for act in acts for constraint in act.constraints)
                withdrawn = tuple(act.withdrawn for act in acts if act.withdrawn is not None)
                return UserMessage(self.messages[-1], new, withdrawn)
        raise UnsayableError(target)

    def _plans(
        self, offered: Sequence[int]
    ) -> Iterator[tuple[list[agenda.DialogueAct], agenda.DialogueState, bool]]:
        """Yield what might be said next, the state after it, and whether old words will do."""
        # plain and paraphrased users begin with the same wish
        content = "attributes" if self.level in ("plain", "paraphrased") else self.level
        number, items = len(self.messages) + 1, [self.test_case.catalogue[i] for i in offered]
        for attempt in range(agenda.N_PLANS):
            rng = agenda.generator(self._seed, "agenda", *self._who, content, number, attempt)
            plan = agenda.Agenda(self.test_case, self.level, self._config, rng, self._profile)
            yield *plan.message(number, self.state, items), False
        acts = [agenda.least(number, self.state)]
        yield from ((acts, self.state.after(acts), again) for again in (False, True))

    def _realizer(self, purpose: str, attempt: int = 0) -> Realizer:
        how = (self.level, self.phrasing, len(self.messages) + 1, attempt)
        rng = agenda.generator(self._seed, purpose, *self._who, *how)
        return Realizer(rng, self.phrasing, self.test_case.catalogue, self.level)


def _sentences(realizer: Realizer, acts: Sequence[agenda.DialogueAct]) -> str:
    """Word some acts, each beginning unlike those before if it can."""
    said: list[str] = []
    for act in acts:
        tries = [realizer.realize(act) for _ in range(_TRIES if said else 1)]
        begun = {text.split()[0] for text in said}
        said.append(next((text for text in tries if text.split()[0] not in begun), tries[0]))
    return " ".join(said)


def make_test_cases(
    data: Dataset, users: Sequence[int], catalogue: Catalogue | None = None, split: HeldOut = "test"
) -> list[agenda.TestCase]:
    """What users (0..U-1) have in mind: the last item ("test") or last but one, and before."""
    histories, targets = data.histories(split), data.targets(split)
    known = catalogue or Catalogue(data)
    return [
        agenda.TestCase(known, known[int(targets[user])], histories[int(user)]) for user in users
    ]


def answer_text(said: Constraint) -> str:
    """The words of a yes or no about an attribute: "Yes, Comedy, please.", "No, not the 1980s."."""
    return f"No, {said.label}." if said.negated else f"Yes, {said.label}, please."


def answer(user: SimulatedUser, asked: Constraint, items: Catalogue) -> UserMessage:
    """What a simulated user says who is asked whether the item is to have an attribute."""
    said = asked if asked.satisfies(items[user.target], items.items) else asked.opposite
    text = answer_text(said)
    if isinstance(user, TemplateUser):
        user.messages.append(text)
    return UserMessage(text, (said,))
