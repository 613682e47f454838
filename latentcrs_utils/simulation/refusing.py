"""Training dialogues with refusals: a user answers to items on offer, before any model is fitted.

:mod:`.simulator` writes wishes one after the other; whoever reads nothing else has never seen a
"not that one". Here the template user of the evaluation speaks, and what it is offered is drawn:
popular items, and above all such as fulfil what was asked for so far.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache

import numpy as np

from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import UNKNOWN_TITLE
from latentcrs_utils.simulation.agenda import DIFFICULTIES, LATEST_CHANGE, N_PLACES, USER_PROFILES
from latentcrs_utils.simulation.items import PERSONAL, Catalogue
from latentcrs_utils.simulation.phrasings import Pool
from latentcrs_utils.simulation.planner import Level, TestCase, generator, one
from latentcrs_utils.simulation.users import TemplateUser

PULL = 10.0
"""An item that fulfils a wish is offered as often as one so many times as popular that does not."""


class Offers:
    """What a recommender might offer: drawn by popularity in training and by the wishes fulfilled.

    Args:
        data: the data set; validation and test items are not counted.
        catalogue: of the same data set.
    """

    def __init__(self, data: Dataset, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        flat = data.histories("train").flat.astype(np.int64)
        counts = np.bincount(flat, minlength=data.n_items + 1).astype(np.float64)
        counts[[title in ("", UNKNOWN_TITLE) for title in data.titles]] = 0
        self._popularity = counts
        # a bounded number: a large catalogue has thousands of creators
        self._true_of = lru_cache(maxsize=256)(catalogue.true_of)

    def draw(
        self,
        rng: np.random.Generator,
        wanted: Sequence[str],
        barred: Collection[int],
        n: int = N_PLACES,
    ) -> list[int]:
        """Draw distinct items; fewer than ``n`` where no more are left.

        Args:
            rng: of the draw.
            wanted: conditions, in the notation of `conditions`.
            barred: items that are not to be offered.
            n: how many.
        """
        weights = self._popularity.copy()
        for condition in self._shared(wanted):
            weights[self._true_of(condition)] *= PULL
        weights[list(barred)] = 0
        possible = np.flatnonzero(weights)
        # the largest of log-weights plus Gumbel noise: a weighted draw without replacement
        keys = np.log(weights[possible]) + rng.gumbel(size=len(possible))
        return possible[np.argsort(-keys)[:n]].tolist()

    def _shared(self, wanted: Sequence[str]) -> Iterator[str]:
        """The conditions that can be asked of any item; an example stands for its genres."""
        for condition in wanted:
            kind, _, value = condition.partition("=")
            if kind in PERSONAL:
                yield from (f"genre={g}" for g in sorted(self._catalogue[int(value)].genres))
            else:
                yield condition


def refusing_dialogue(
    test_case: TestCase,
    offers: Offers,
    n_turns: int,
    *,
    user: int,
    seed: int,
    level: Level,
    phrasing: Pool,
    config: SimulatorConfig,
) -> TemplateUser:
    """Let a template user answer to drawn offers, never the target, nor an item seen or offered.

    The difficulty is drawn, each equally often. Only who has the turns to take a mistake back
    begins with one, so that in the end all that stands is true of the target; who speaks by example
    does not, since an earlier item that was taken back would no longer show in what stands.

    Args:
        test_case: target and history.
        offers: draws the items on offer.
        n_turns: messages, at least 1.
        user: number of the user; seed: of all draws.
        level, phrasing, config: of the user, as in `TemplateUser`.

    Returns:
        The user after its last message: ``messages`` is what it said, ``standing`` what of it
        counts.

    Raises:
        DataError: no phrase of the book keeps the title secret.
    """
    target, history = test_case.target.item, test_case.history.tolist()
    rng = generator(seed, "offers", user, len(history), target)
    may_change = n_turns >= LATEST_CHANGE and level != "by example"
    known = [d for d in DIFFICULTIES if may_change or not USER_PROFILES[d].changes]
    speaker = TemplateUser(
        test_case, user=user, seed=seed, difficulty=one(rng, known), level=level,
        phrasing=phrasing, config=config,
    )  # fmt: skip
    barred, offered = {target, *history}, list[int]()
    for _ in range(n_turns):
        speaker.say(offered)
        offered = offers.draw(rng, speaker.standing, barred)
        barred.update(offered)
    return speaker
