"""Whole dialogues between simulated users and a system, many at a time (Tables 4 and 6).

In every turn the messages of a batch are embedded and scored in one go, and the policies of the
chat choose items. A batch is logged when it is over; a killed run goes on with the first that is
not whole, in the same company, so its result is that of an undisturbed run.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.config import Checked, preset
from latentcrs_utils.constraints.constraint import Requirements, matcher_for
from latentcrs_utils.constraints.extraction import How
from latentcrs_utils.conversation.belief import embed_texts, read_text
from latentcrs_utils.conversation.policies import FilterPolicy, Policy, Request
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.data.source import UNKNOWN_TITLE
from latentcrs_utils.em.instances import Instances
from latentcrs_utils.errors import DataError
from latentcrs_utils.evaluation.dialogues import Dialogue, Exchange, JsonLog, Purpose, TokenUsage
from latentcrs_utils.evaluation.one_turn import EvalSet, Fitted, Scorer, scorers
from latentcrs_utils.language.encoding import Language
from latentcrs_utils.simulation.agenda import Difficulty, Level
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.phrase_book import Pool
from latentcrs_utils.simulation.users import (
    Accept,
    HeldOut,
    SimulatedUser,
    TemplateUser,
    UserMessage,
    answer,
    make_test_cases,
)
from latentcrs_utils.support.artifacts import fingerprint, key
from latentcrs_utils.support.progress import note, track

READERS = ("text alone", "fusion without intents", "LatentCRS", "LatentCRS+")
"""The systems that read x^u as a vector; the lexicon filter reads the words themselves."""
FILTERED, HEARD = "LatentCRS+ F", "LatentCRS+ F (classifier)"  # policy F of `LatentCRS+`
_PURPOSES: dict[str, Purpose] = {"F": "extraction", "V": "re-ranking"}

MakeUsers = Callable[[Sequence[int]], Sequence[SimulatedUser]]


@dataclass(frozen=True)
class System:
    """A partner in dialogues: a scorer of the one-turn tables, and the policy that chooses.

    The scorer is asked anew in every turn; the frame of its cases has the columns user and turn.
    Nothing is embedded unless it `reads` x; `identity` names, for the log, a model and its setting.
    """

    scorer: Scorer
    policy: Policy
    backbone: Backbone
    language: Language
    reads: bool = True
    identity: str = ""

    @torch.no_grad()
    def score(
        self, users: Sequence[int], histories: Sequences, messages: Sequence[Sequence[str]]
    ) -> tuple[Tensor, list[tuple[TokenUsage, ...]]]:
        """Score all items for B users, of whom something is known and who said some messages.

        Returns [B, V + 1], and what each embedding cost. DataError: the scores are malformed.
        """
        texts, begun = [read_text(said)[0] for said in messages], time.perf_counter()
        usage: list[tuple[TokenUsage, ...]] = [()] * len(texts)
        x = torch.zeros(len(texts), len(self.language.mean))
        if self.reads:
            x = embed_texts(self.language, texts)
            seconds = (time.perf_counter() - begun) / len(texts)
            count = self.language.embedder.token_ids
            usage = [(TokenUsage("embedding", len(count(text)), 1, seconds),) for text in texts]
        targets = torch.zeros(len(texts), dtype=torch.int64)  # nobody knows them
        instances = Instances(self.backbone.encode(histories), x, targets, histories)
        frame = pl.DataFrame({"user": users, "turn": [len(said) for said in messages]})
        scores = self.scorer(EvalSet(instances, texts, frame))
        shape, n_nan = (len(texts), self.policy.data.n_items + 1), int(scores.isnan().sum())
        if scores.shape != shape or n_nan:
            given = f"scores {tuple(scores.shape)}, {n_nan} of them not a number"
            raise DataError(f"A system gave {given}: expected numbers, {shape}.")
        return scores, usage


def dialogue_systems(fitted: Fitted) -> dict[str, System]:
    """Every row of the one-turn table as a system, and F of `LatentCRS+` with two readers."""
    basic = Policy(fitted.data)
    systems = {
        name: System(scorer, basic, fitted.backbone, fitted.language, name in READERS)
        for name, scorer in scorers(fitted).items()
    }
    readers: dict[str, How] = {FILTERED: "lexicon", HEARD: "lexicon + classifier"}
    return systems | {
        name: replace(systems["LatentCRS+"], policy=FilterPolicy(fitted.data, extractor=reader))
        for name, reader in readers.items()
    }


def identity_of(fitted: Fitted) -> str:
    """Name what the systems' answers depend on: data, texts and every trained weight."""
    modules: list[torch.nn.Module] = [fitted.backbone.encoder]
    modules += [fitted.text_alone.scorer, fitted.fusion.scorer]
    for model in (fitted.latentcrs, fitted.latentcrs_plus):
        modules += [model.generative, model.inference]
    weights = [tensor for module in modules for tensor in module.state_dict().values()]
    return f"{fitted.data.fingerprint} {fitted.language.fingerprint} {fingerprint(*weights)}"


@dataclass(frozen=True)
class Setting(Checked):
    """How the dialogues go (the paper's: five turns, five items a turn).

    Difficulty, level, phrasing and seed are of the users. A dialogue without success ends after
    ``n_turns`` of ``n_items`` each; ``known`` are the items at the end of a history that the system
    knows, None for all (cold start); ``batch_size`` dialogues are held at once. The targets of the
    split "test" are the last items, those of "valid" the last but one, with the items before it,
    for choices before the test. ConfigError: a number below 1 (``known``: 0), or an unknown word.
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


def sample_users(data: Dataset, n: int | None = None, split: HeldOut = "test") -> np.ndarray:
    """Draw n users, or all, whose target has a name; the same at every call, ascending, int64."""
    users = np.flatnonzero([data.titles[v] != UNKNOWN_TITLE for v in data.targets(split)])
    if n is None or n >= len(users):
        return users
    return np.sort(np.random.default_rng(0).choice(users, n, replace=False))


def template_users(data: Dataset, setting: Setting) -> MakeUsers:
    """The maker of the template users of a setting."""
    catalogue, config = Catalogue(data), preset(data.name, data.n_users).simulator

    def make(users: Sequence[int]) -> list[SimulatedUser]:
        cases = make_test_cases(data, users, catalogue, setting.split)
        return [
            TemplateUser(
                case, user=int(user), seed=setting.seed, difficulty=setting.difficulty,
                level=setting.level, phrasing=setting.phrasing, config=config,
            )
            for user, case in zip(users, cases, strict=True)
        ]  # fmt: skip

    return make


def converse(
    data: Dataset, name: str, system: System, users: Sequence[int] | np.ndarray,
    setting: Setting | None = None, *, make_users: MakeUsers | None = None, log: Path | None = None,
    identity: str = "",
) -> list[Dialogue]:  # fmt: skip
    """Let every user, 0..U-1, talk to a system; returns one dialogue a user, in their order.

    Targets are of the setting's split, histories without them; the default is the paper's setting.
    ``make_users`` makes simulated users of indices, by default the template users of the setting.
    Dialogues that ``log``, a file of JSON lines, holds are not held again; ``identity`` names what
    else they depend on (the fitted model, the simulator), and a log of another one is refused.
    DataError: the log is damaged or of another run; the scores are malformed.
    """
    setting, users = setting or Setting(), [int(user) for user in users]
    make_users = make_users or template_users(data, setting)
    # logs from before there was a choice of the split are those of the test
    chosen = {"class": "Setting", **asdict(setting)}
    chosen = {name: v for name, v in chosen.items() if (name, v) != ("split", "test")}
    run = key(data=data.fingerprint, system=name, identity=identity, setting=chosen, users=users)
    book = JsonLog(log, run, by="user", check=Dialogue.from_dict)
    done = {user: Dialogue.from_dict(entry) for user, entry in book.entries.items()}
    for start in track(range(0, len(users), setting.batch_size), f"Dialogues with {name}"):
        batch = users[start : start + setting.batch_size]
        if not all(user in done for user in batch):
            speakers = dict(zip(batch, make_users(batch), strict=True))
            dialogues = _hold(data, name, system, setting, speakers)
            book.append(dialogue.to_dict() for dialogue in dialogues)
            done = {dialogue.user: dialogue for dialogue in dialogues} | done
    return [done[user] for user in users]


@dataclass
class _Talk:
    """One dialogue under way, which goes on while there are more messages than exchanges.

    history is what the system knows; excluded the whole past and what was offered before.
    """

    user: int
    speaker: SimulatedUser
    history: list[int]
    excluded: set[int]
    said: list[UserMessage]
    exchanges: list[Exchange] = field(default_factory=list)
    requirements: Requirements = field(default_factory=Requirements)
    success: int | None = None

    def take_turn(
        self, policy: Policy, scores: Tensor, setting: Setting, usage: list[TokenUsage]
    ) -> None:
        """Let a policy choose items and the user see them, who answers unless it was the end."""
        begun, said = time.perf_counter(), self.said[-1]
        offered = self.exchanges[-1].offered if self.exchanges else ()
        parsed = policy.parse(said.text, self.requirements, offered=offered)
        self.requirements = wanted = parsed.requirements
        texts = [message.text for message in self.said]
        who = self.user if setting.known is None else -1  # no system may know a newcomer
        request = Request(
            scores, self.excluded, setting.n_items, wanted, self.history, texts, user=who
        )
        slate = policy.select(request)
        seconds = time.perf_counter() - begun
        for told in (parsed.note, slate.note if policy.name == "V" else ""):
            if told:
                note(f"Policy {policy.name}, user {self.user}: {told}")
        if policy.name in _PURPOSES:
            n_read = parsed.prompt_tokens + slate.tokens[0]
            n_written = parsed.completion_tokens + slate.tokens[1]
            usage.append(TokenUsage(_PURPOSES[policy.name], n_read, n_written, seconds))
        else:
            purpose: Purpose = "prompting" if any(slate.tokens) else "scoring"
            # an answer that was kept takes no time now
            usage.append(TokenUsage(purpose, *slate.tokens, max(seconds, slate.seconds)))
        cost = said.prompt_tokens, said.completion_tokens, said.seconds
        if any(cost):
            usage.append(TokenUsage("user", *cost))
        offered = tuple(item.item for item in slate.items)
        words = said.text, said.constraints, said.withdrawn, said.source
        self.exchanges.append(Exchange(*words, offered, tuple(usage)))
        self.excluded |= {*offered}
        catalogue, speaker = matcher_for(policy.data).catalogue, self.speaker
        target_ids = catalogue.same([speaker.target])
        if len(self.exchanges) == setting.n_turns and target_ids.isdisjoint(offered):
            return
        asked = None if isinstance(speaker, ReplayedUser) else slate.asked  # its answers are logged
        reply = answer(speaker, asked, catalogue) if asked is not None else speaker.say(offered)
        if isinstance(reply, Accept):
            self.success = len(self.exchanges)
        elif reply is not None:
            self.said.append(reply)


def _hold(
    data: Dataset, name: str, system: System, setting: Setting, speakers: dict[int, SimulatedUser]
) -> list[Dialogue]:
    """Hold the dialogues of one batch of users, turn by turn."""
    past = data.histories(setting.split).select(list(speakers))
    known = past if setting.known is None else past.last(setting.known)
    talks = []
    for (user, speaker), seen, history in zip(speakers.items(), past, known, strict=True):
        said = speaker.say()
        if not isinstance(said, UserMessage):
            raise DataError("A simulated user begins a dialogue with a message.")
        # all of the history is excluded, however little of it the system knows
        excluded = {*seen.tolist()} - matcher_for(data).catalogue.same([speaker.target])
        talks.append(_Talk(user, speaker, history.tolist(), excluded, [said]))
    # a language model takes its time for every dialogue
    progress = None if system.policy.name == "V" else False
    for _ in range(setting.n_turns):
        active = [place for place, t in enumerate(talks) if len(t.said) > len(t.exchanges)]
        if not active:
            break
        waiting, begun = [talks[place] for place in active], time.perf_counter()
        users, messages = [t.user for t in waiting], [[m.text for m in t.said] for t in waiting]
        scores, usage = system.score(users, known.select(active), messages)
        seconds = time.perf_counter() - begun - sum(part.seconds for u in usage for part in u)
        scoring = TokenUsage("scoring", seconds=max(0.0, seconds) / len(waiting))
        turns = zip(waiting, scores, usage, strict=True)
        for talk, row, costs in track(turns, name, len(waiting), progress=progress):
            talk.take_turn(system.policy, row, setting, [*costs, scoring])
    return [
        Dialogue(name, t.user, t.speaker.target, setting.seed, t.success, tuple(t.exchanges))
        for t in talks
    ]


class ReplayedUser:
    """Says again what a user said in a logged dialogue, whatever is offered, and then leaves."""

    def __init__(self, dialogue: Dialogue, catalogue: Catalogue):
        self.target, self._left = dialogue.target, iter(dialogue.exchanges)
        self._wanted = catalogue.same([self.target])

    def say(self, offered: Sequence[int] = ()) -> UserMessage | Accept | None:
        """Accept the target; else say the next message of the log, if there is one."""
        if found := self._wanted.intersection(offered):
            return Accept(min(found), "")
        for said in self._left:
            return UserMessage(said.message, said.constraints, said.withdrawn, said.source)
        return None


def replay(
    data: Dataset, dialogues: Sequence[Dialogue], name: str, system: System,
    setting: Setting | None = None,
) -> list[Dialogue]:  # fmt: skip
    """Feed the messages of logged dialogues, one a user, to a system; return its dialogues.

    The user does not react to the new offers, and a dialogue ends where the logged one did, so
    success counts are not those of `converse`; the system of the log gives the dialogues of the
    log. Of the setting, ``known``, ``n_items``, ``n_turns`` and ``batch_size`` count.
    """
    by_user = {dialogue.user: dialogue for dialogue in dialogues}
    catalogue = matcher_for(data).catalogue
    return converse(
        data, name, system, list(by_user), setting,
        make_users=lambda users: [ReplayedUser(by_user[user], catalogue) for user in users],
    )  # fmt: skip
