"""Whole dialogues between simulated users and a system, many at a time.

In every turn all users of a batch speak, their messages are embedded and scored in one go, and each
is offered the best items that are neither known nor offered before. A batch is logged when all its
dialogues are over; a run that is killed goes on with the first batch that is not whole, in the
same company, so its result is that of an undisturbed run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.config import preset
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import UNKNOWN_TITLE
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.evaluation.dialogues import Dialogue, DialogueLog, Exchange, TokenUsage
from latentcrs_utils.evaluation.multi_turn import Answer, States, System
from latentcrs_utils.simulation.agenda import Difficulty
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.phrasings import Pool
from latentcrs_utils.simulation.planner import Level
from latentcrs_utils.simulation.users import (
    HELD_OUT,
    Accept,
    HeldOut,
    SimulatedUser,
    TemplateUser,
    UserMessage,
    make_test_cases,
)
from latentcrs_utils.support.artifacts import key
from latentcrs_utils.support.progress import track

MakeUsers = Callable[[Sequence[int]], Sequence[SimulatedUser]]


@dataclass(frozen=True)
class Setting:
    """How the dialogues go (the paper's: five turns, five items a turn).

    Attributes:
        difficulty, level, phrasing: of the template user.
        seed: of the users.
        n_turns: a dialogue without success ends after so many.
        n_items: items offered a turn.
        known: items at the end of a history that the system knows; None for all (cold start).
        batch_size: dialogues held at once.
        split: whose targets: "test", the last item of each user; "valid", the last but one, with
            the items before it, for choices that are not to be made on the test users.

    Raises:
        ConfigError: a number below 1 (``known`` below 0), or an unknown split.
    """

    difficulty: Difficulty = "normal"
    level: Level = "paraphrased"
    phrasing: Pool = "test"
    seed: int = 0
    n_turns: int = 5
    n_items: int = 5
    known: int | None = None
    batch_size: int = 64
    split: HeldOut = "test"

    def __post_init__(self) -> None:
        for name in ("n_turns", "n_items", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: at least 1.")
        if self.known is not None and self.known < 0:
            raise ConfigError(f"known={self.known} is negative.")
        if self.split not in HELD_OUT:
            raise ConfigError(f"split={self.split!r} is not one of {', '.join(HELD_OUT)}.")


def sample_users(
    data: Dataset, n: int | None = None, seed: int = 0, split: HeldOut = "test"
) -> np.ndarray:
    """Draw users whose target has a name, so that it can be taken up when it is offered.

    Args:
        data: the data set.
        n: how many; None, or more than there are: all of them.
        seed: of the draw.
        split: whose target.

    Returns:
        User indices in ascending order, int64.
    """
    titles = data.titles
    named = [titles[target] != UNKNOWN_TITLE for target in data.targets(split)]
    users = np.flatnonzero(named)
    if n is None or n >= len(users):
        return users
    return np.sort(np.random.default_rng(seed).choice(users, n, replace=False))


def template_users(data: Dataset, setting: Setting) -> MakeUsers:
    """Return the maker of the template users of a setting."""
    catalogue = Catalogue(data)
    config = preset(data.name, data.n_users).simulator

    def make(users: Sequence[int]) -> list[SimulatedUser]:
        minds = make_test_cases(data, users, catalogue, setting.split)
        return [
            TemplateUser(
                test_case,
                user=int(user),
                seed=setting.seed,
                difficulty=setting.difficulty,
                level=setting.level,
                phrasing=setting.phrasing,
                config=config,
            )
            for user, test_case in zip(users, minds, strict=True)
        ]

    return make


@dataclass
class _Talk:
    """One dialogue under way.

    Attributes:
        user: user index.
        speaker: the simulated user.
        barred: items that are not offered, those offered before included.
        message: what the user said last; None when the dialogue is over.
    """

    user: int
    speaker: SimulatedUser
    barred: set[int]
    message: UserMessage | None
    exchanges: list[Exchange] = field(default_factory=list)
    success: int | None = None

    @property
    def messages(self) -> list[str]:
        said = [exchange.message for exchange in self.exchanges]
        return [*said, self.message.text] if self.message else said

    def go_on(self, offered: Sequence[int], usage: Sequence[TokenUsage], n_turns: int) -> None:
        """Let the user see an offer, and answer it unless the dialogue is over."""
        said = self.message
        if said is None:
            raise ValueError("A dialogue that is over does not go on.")
        cost = (said.prompt_tokens, said.completion_tokens, said.seconds)
        costs = (*usage, TokenUsage("user", *cost)) if any(cost) else tuple(usage)
        self.exchanges.append(
            Exchange(
                said.text, said.constraints, said.withdrawn, said.source, tuple(offered), costs
            )
        )
        self.barred |= set(offered)
        self.message = None
        turn = len(self.exchanges)
        if turn == n_turns and self.speaker.target not in offered:
            return
        reply = self.speaker.say(offered)
        if isinstance(reply, Accept):
            self.success = turn
        else:
            self.message = reply if turn < n_turns else None

    def finished(self, system: str, seed: int) -> Dialogue:
        """The dialogue as it goes into the log."""
        target = self.speaker.target
        return Dialogue(system, self.user, target, seed, self.success, tuple(self.exchanges))


def converse(
    data: Dataset,
    name: str,
    system: System,
    users: Sequence[int] | np.ndarray,
    setting: Setting | None = None,
    *,
    make_users: MakeUsers | None = None,
    log: Path | None = None,
    identity: str = "",
    progress: bool | None = None,
) -> list[Dialogue]:
    """Let every user talk to a system.

    Args:
        data: the data set; targets of the setting's split, histories without them.
        name: of the system.
        system: what scores the items.
        users: user indices.
        setting: how the dialogues go; default, the paper's five turns of five items.
        make_users: user indices -> simulated users; default, template users of the setting.
        log: a file of JSON lines; dialogues that it holds are not held again.
        identity: names what else the dialogues depend on (the fitted model, the simulator); a
            log of another identity is refused.
        progress: show a bar; None follows the environment.

    Returns:
        One dialogue a user, in their order.

    Raises:
        DataError: the log is damaged or of another run; the scores are malformed.
    """
    setting = setting or Setting()
    users = [int(user) for user in users]
    make_users = make_users or template_users(data, setting)
    run = key(
        data=data.fingerprint, system=name, identity=identity, setting=_named(setting), users=users
    )
    book = DialogueLog(log, run) if log else None
    done = dict(book.by_user) if book else {}
    starts = range(0, len(users), setting.batch_size)
    for start in track(starts, f"Dialogues with {name}", progress=progress):
        batch = users[start : start + setting.batch_size]
        if all(user in done for user in batch):
            continue
        dialogues = _hold(data, name, system, batch, make_users(batch), setting)
        if book:
            book.append(dialogues)
        done = {dialogue.user: dialogue for dialogue in dialogues} | done
    return [done[user] for user in users]


def _named(setting: Setting) -> dict[str, Any]:
    """A setting as it names a log: the test split goes without saying, as in the logs there are."""
    fields = {"class": type(setting).__name__, **asdict(setting)}
    return {name: v for name, v in fields.items() if (name, v) != ("split", "test")}


def _hold(
    data: Dataset,
    name: str,
    system: System,
    users: Sequence[int],
    speakers: Sequence[SimulatedUser],
    setting: Setting,
) -> list[Dialogue]:
    """Hold the dialogues of one batch, turn by turn."""
    past = data.histories(setting.split).select(users)
    known = past if setting.known is None else past.last(setting.known)
    nameless = {item for item, title in enumerate(data.titles) if title == UNKNOWN_TITLE}
    talks = []
    for user, speaker, row in zip(users, speakers, past, strict=True):
        # all of the history is barred, however little of it the system knows
        barred = {0, *nameless, *row.tolist()} - {speaker.target}
        talks.append(_Talk(user, speaker, barred, _first(speaker)))
    for _ in range(setting.n_turns):
        active = [place for place, talk in enumerate(talks) if talk.message is not None]
        if not active:
            break
        waiting = [talks[place] for place in active]
        states = States(
            np.array([talk.user for talk in waiting]),
            known.select(active),
            [talk.messages for talk in waiting],
            [[i for e in talk.exchanges for i in e.offered] for talk in waiting],
            [frozenset(talk.barred) for talk in waiting],
        )
        scores, usage = _ask(system, states, data.n_items)
        for talk, row, costs in zip(waiting, scores, usage, strict=True):
            talk.go_on(_best(row, talk.barred, setting.n_items), costs, setting.n_turns)
    return [talk.finished(name, setting.seed) for talk in talks]


def _first(speaker: SimulatedUser) -> UserMessage:
    said = speaker.say()
    if not isinstance(said, UserMessage):
        raise DataError("A simulated user begins a dialogue with a message.")
    return said


def _ask(
    system: System, states: States, n_items: int
) -> tuple[Tensor, list[tuple[TokenUsage, ...]]]:
    """Scores [B, V + 1], and each dialogue's bill, the time of the scoring included."""
    begun = time.perf_counter()
    with torch.no_grad():
        answer = system(states)
    seconds = time.perf_counter() - begun
    if not isinstance(answer, Answer):
        answer = Answer(answer, [()] * len(states))
    scores, usage = answer.scores, answer.usage
    if scores.shape != (len(states), n_items + 1) or len(usage) != len(states):
        raise DataError(
            f"A system gave scores {tuple(scores.shape)} and {len(usage)} bills to {len(states)} "
            f"dialogues: expected [{len(states)}, {n_items + 1}], and a bill each."
        )
    if torch.isnan(scores).any():
        raise DataError("A system gave a score that is not a number.")
    seconds -= sum(part.seconds for costs in usage for part in costs)
    scoring = TokenUsage("scoring", seconds=max(0.0, seconds) / len(states))
    return scores, [(*costs, scoring) for costs in usage]


def _best(scores: Tensor, barred: set[int], n: int) -> list[int]:
    """The n best items that are not barred; fewer where no more are left. Ties: smaller id."""
    scores = scores.clone()
    scores[list(barred)] = -torch.inf
    best = scores.sort(descending=True, stable=True)
    return best.indices[:n][torch.isfinite(best.values[:n])].tolist()


class ReplayedUser:
    """Says again what a user said in a logged dialogue, whatever is offered, and then leaves.

    Args:
        dialogue: the logged dialogue.
    """

    def __init__(self, dialogue: Dialogue):
        self._dialogue, self._n_said = dialogue, 0

    @property
    def target(self) -> int:
        """Id of the item that the user had in mind."""
        return self._dialogue.target

    def say(self, offered: Sequence[int] = ()) -> UserMessage | Accept | None:
        """Accept the target; else say the next message of the log, if there is one."""
        if self.target in offered:
            return Accept(self.target, "")
        if self._n_said == len(self._dialogue.exchanges):
            return None
        exchange = self._dialogue.exchanges[self._n_said]
        self._n_said += 1
        return UserMessage(
            exchange.message, exchange.constraints, exchange.withdrawn, exchange.source
        )


def replay(
    data: Dataset,
    dialogues: Sequence[Dialogue],
    name: str,
    system: System,
    setting: Setting | None = None,
) -> list[Dialogue]:
    """Feed the messages of logged dialogues to a system.

    The user does not react to the new offers, and a dialogue ends where the logged one did: a
    system that needs longer than the logged one finds nobody to talk to, so success counts are not
    those of `converse`. The system of the log gives the dialogues of the log.

    Args:
        data: the data set of the log.
        dialogues: from a log, e.g. `read_dialogues`; one a user.
        name: of the system.
        system: what scores the items.
        setting: that of the log (``known``, ``n_items``, ``n_turns`` and ``batch_size`` count).

    Returns:
        The dialogues with the system's own offers.
    """
    by_user = {dialogue.user: dialogue for dialogue in dialogues}

    def make_users(users: Sequence[int]) -> list[SimulatedUser]:
        return [ReplayedUser(by_user[user]) for user in users]

    return converse(data, name, system, list(by_user), setting, make_users=make_users)
