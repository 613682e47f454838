"""Every rival of the paper's tables by its name, fitted or loaded when it is first asked for."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any

from torch import Tensor

from latentcrs_utils.baselines import floors
from latentcrs_utils.baselines.attributes import SYSTEMS, attributes_of
from latentcrs_utils.baselines.chat_rec import make_chat_rec
from latentcrs_utils.baselines.crif import fit_crif
from latentcrs_utils.baselines.crm import fit_crm, fit_tracker
from latentcrs_utils.baselines.interecagent import make_interecagent
from latentcrs_utils.baselines.llm_alone import make_llm_alone
from latentcrs_utils.baselines.questions import Asker
from latentcrs_utils.baselines.rival import Rival, asking_rival
from latentcrs_utils.baselines.unicorn import fit_unicorn
from latentcrs_utils.conversation.policies import Policy
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.evaluation.one_turn import EvalSet, Fitted, scorers

if TYPE_CHECKING:
    from latentcrs_utils.language.chat_model import ChatModel

OWN, HARD = "CRM (own tracker)", ", hard"
FITS: dict[str, Callable[..., Asker]] = dict(zip(SYSTEMS, (
    partial(floors.fit_floor, floors.AbsoluteGreedy),
    partial(floors.fit_floor, floors.MaximumEntropy), fit_crm, fit_unicorn, fit_crif,
), strict=True))  # fmt: skip
"""The systems that know attributes and may ask about them."""


class Rivals:
    """The rivals on one data set and one seed; `names` are those that can be made here.

    Nothing is fitted before a rival is asked for; `fitted` is called then, if the rival needs it.

    A system that asks has a second row, ", hard", which puts what has everything that was said
    before all else. Systems that prompt need a `chat_model`, whose name is in theirs; `prompting`
    are their names. `missing` says of the systems that know nothing but attributes why they are
    none here, where the data have no attributes.
    """

    def __init__(
        self, data: Dataset, fitted: Callable[[], Fitted], *, seed: int = 0,
        chat_model: "ChatModel | None" = None,
    ):  # fmt: skip
        asker = cache(lambda name: FITS[name](data, seed=seed))

        def first(cases: EvalSet) -> Tensor:
            return scorers(fitted())["backbone alone"](cases)

        def dense() -> Rival:
            scorer = floors.dense_retrieval(data, fitted().backbone)
            return Rival("dense retrieval", scorer, Policy(data))

        ready = [make_interecagent(data, None, first)]
        self.prompting: list[str] = []
        if chat_model is not None:
            prompted = [
                make_llm_alone(data, chat_model),
                make_llm_alone(data, chat_model, with_seen=True),
                make_chat_rec(data, chat_model, first),
                make_interecagent(data, chat_model, first),
            ]
            self.prompting = [rival.name for rival in prompted]
            ready += prompted
        self._made = {rival.name: rival for rival in ready}
        self._makers: dict[str, Callable[[], Rival]] = {"dense retrieval": dense}
        self.missing: dict[str, str] = {}
        try:
            attributes_of(data)
        except ConfigError as error:
            both = [*FITS, *(f"{name}{HARD}" for name in FITS), OWN]
            self.missing = dict.fromkeys(both, str(error))
            return

        def asking(name: str, label: str, hard: bool) -> Rival:
            return asking_rival(label, asker(name), hard=hard)

        def by_own_tracker() -> Rival:
            crm: Any = asker("CRM")
            tracker = fit_tracker(data, fitted().language.utterances, seed=seed)
            return asking_rival(OWN, replace(crm, attributes=tracker))

        for name, (label, hard) in product(FITS, {"": False, HARD: True}.items()):
            self._makers[f"{name}{label}"] = partial(asking, name, f"{name}{label}", hard)
        self._makers[OWN] = by_own_tracker

    @property
    def names(self) -> list[str]:
        """The systems that can be made here."""
        return [*dict.fromkeys([*self._made, *self._makers])]

    def check(self, name: str) -> None:
        """ConfigError: there is no rival of that name, or none on these data."""
        if name in self.missing:
            raise ConfigError(f"{name} cannot run here: {self.missing[name]}")
        if name not in self.names:
            raise ConfigError(f"There is no system {name!r}. Known: {', '.join(self.names)}.")

    def __getitem__(self, name: str) -> Rival:
        """The rival of a name, see `check`."""
        self.check(name)
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    @property
    def line_counts(self) -> dict[str, dict[str, int]]:
        """What the lines and plans of language models were so far, by system."""
        policies: dict[str, Any] = {name: self[name].policy for name in self.prompting}
        return {name: dict(policy.prompt.counts) for name, policy in policies.items()}
