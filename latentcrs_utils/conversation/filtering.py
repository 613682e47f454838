"""Variant F: candidates held to the user's requirements, which give way in a stated order.

An item that meets every requirement always comes before one that does not. Only places that are
left are filled with items that do not, and for these the requirements give way one after the other:
first the price, then who made it, the platform, the years (up to 5 more either way, then all), some
of the genres (one is enough), all genres. One that would free no item alone is passed over as long
as a later one does: where no western is left at all, it does not help to give up the years. What
the user refused stays out as long as anything else is left. An attribute that is not known meets no
requirement (see `Matcher`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.constraints.constraint import Requirement, Requirements
from latentcrs_utils.constraints.matching import Matcher

YEARS_WIDENED = 5
STEPS: dict[str, str] = {
    "price": "the price",
    "creator": "who made it",
    "platform": "the platform",
    "years widened": f"the years (by up to {YEARS_WIDENED} either way)",
    "years": "the years",
    "some genres": "some of the genres",
    "genres": "the genres",
    "refusals": "what you refused",
}
"""What gives way, in this order, and how the user is told."""


@dataclass(frozen=True)
class Narrowed:
    """The items that a turn may offer, given the requirements.

    Attributes:
        items: ids, best first.
        misses: for each of them the conditions that it does not meet.
        relaxed: the steps of `STEPS` that gave way for any of them, in their order.
    """

    items: tuple[int, ...]
    misses: tuple[tuple[str, ...], ...]
    relaxed: tuple[str, ...]

    @property
    def n_exact(self) -> int:
        """How many items meet everything."""
        return sum(not missed for missed in self.misses)


def steps(
    matcher: Matcher, wanted: Requirements, left: np.ndarray | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what is allowed, bool [V + 1]: at first by all requirements, then after every step.

    Steps that free no item are left out.

    Args:
        matcher: of the catalogue.
        wanted: the requirements.
        left: the items that are still to be had, bool [V + 1]; None: all.

    Yields:
        Name of the step ("" at first) and the items allowed so far; each mask holds those before.
    """
    left = matcher.items if left is None else left
    parts, looser = _parts(matcher, wanted)
    pending = [s for s in STEPS if not np.array_equal(parts[_part(s)], looser[s])]
    allowed = left & np.logical_and.reduce(list(parts.values()))
    yield "", allowed
    while pending:
        # refusals come last, whatever they would free
        tried = [step for step in pending if step != "refusals"] or pending
        freed = {step: left & _with(parts, step, looser) for step in tried}
        step = next((s for s in tried if (freed[s] & ~allowed).any()), tried[0])
        parts[_part(step)] = looser[step]
        pending = [s for s in pending if s != step and (step, s) not in _INCLUDED]
        if (freed[step] & ~allowed).any():
            allowed = freed[step]
            yield step, allowed


_INCLUDED = {("years", "years widened"), ("genres", "some genres")}


def _part(step: str) -> str:
    """The part of the requirements that a step makes looser."""
    return {"years widened": "years", "some genres": "genres"}.get(step, step)


def _with(
    parts: Mapping[str, np.ndarray], step: str, looser: Mapping[str, np.ndarray]
) -> np.ndarray:
    """What is allowed after one more step."""
    return np.logical_and.reduce(list({**parts, _part(step): looser[step]}.values()))


def _parts(
    matcher: Matcher, wanted: Requirements
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The items that meet each part of the requirements, and those that do after each step."""
    asked, refused = _genres(wanted)
    parts = {
        "refusals": matcher.all_of(refused),
        "genres": matcher.all_of(asked),
        "years": matcher.any_of(wanted.of("years")),
        "platform": matcher.any_of(wanted.of("platform")),
        "creator": matcher.any_of(wanted.of("creator")),
        "price": matcher.all_of(wanted.of("price")),
    }
    looser = dict.fromkeys(STEPS, matcher.items)
    looser["years widened"] = matcher.any_of(map(_widened, wanted.of("years")))
    looser["some genres"] = matcher.any_of(asked)
    return parts, looser


def levels(
    matcher: Matcher, wanted: Requirements, left: np.ndarray | None = None
) -> tuple[np.ndarray, list[str]]:
    """After how many steps each item is allowed, and the names of these steps.

    Args:
        matcher, wanted, left: as of `steps`.

    Returns:
        int64 [V + 1], 0 for an item that meets everything, one more than there are steps for the
        padding and for what is not left; item v is allowed after ``names[: level[v]]``.
    """
    names, masks = zip(*steps(matcher, wanted, left), strict=True)
    # each mask holds those before it, so the number of masks without an item is its level
    return (~np.stack(masks)).sum(0), list(names[1:])


def tiered(scores: Tensor, level: np.ndarray) -> Tensor:
    """Scores that put every item of a lower level before those of a higher one.

    Args:
        scores: [V + 1]; minus infinity for what is not to be offered.
        level: int [V + 1], as `levels` gives.

    Returns:
        Float64 [V + 1]: the scores of level 0 as they are, those of higher levels moved below.
    """
    finite = scores[torch.isfinite(scores)].double()
    if not len(finite):
        return scores.double()
    span = finite.max() - finite.min() + 1.0
    return scores.double() - torch.from_numpy(level).to(scores.device) * span


def narrow(scores: Tensor, matcher: Matcher, wanted: Requirements, n_items: int) -> Narrowed:
    """Choose the best items under requirements; see the top of this module.

    Args:
        scores: log p(v | S, x), [V + 1]; minus infinity for what is not to be offered (padding,
            seen, offered, rejected). At least one is finite.
        matcher: of the catalogue.
        wanted: the requirements.
        n_items: how many items are wanted.

    Returns:
        At most `n_items` items; fewer only where the rest is gone or refused.
    """
    left = torch.isfinite(scores)
    level, names = levels(matcher, wanted, left.cpu().numpy())
    if "refusals" in names:
        kept = left & torch.from_numpy(level <= names.index("refusals")).to(scores.device)
        left = kept if bool(kept.any()) else left
    ranked = torch.where(left, tiered(scores, level), -torch.inf)
    best = ranked.topk(min(n_items, int(left.sum()))).indices.tolist()
    misses = tuple(_misses(matcher, wanted, item) for item in best)
    return Narrowed(tuple(best), misses, _relaxed(matcher, wanted, best, misses))


def narrowing_note(wanted: Requirements, narrowed: Narrowed, noun: str) -> str:
    """What to tell the user about a list that does not meet all requirements; "" if it does.

    Args:
        wanted: the requirements.
        narrowed: what `narrow` chose under them.
        noun: "film", "game", "album" or "item".
    """
    if not narrowed.relaxed:
        return ""
    asked = ", ".join(requirement.label for requirement in wanted)
    gave_way = _joined([STEPS[step] for step in narrowed.relaxed])
    n = narrowed.n_exact
    if n == 0:
        return f"No {noun} is left that meets all of: {asked}. So I gave way on {gave_way}."
    few = f"Only 1 {noun} is left that meets" if n == 1 else f"Only {n} {noun}s are left that meet"
    return f"{few} all of: {asked}. For the others I gave way on {gave_way}."


def _genres(wanted: Requirements) -> tuple[list[Requirement], list[Requirement]]:
    genres = wanted.of("genre")
    return [g for g in genres if not g.refuses], [g for g in genres if g.refuses]


def _widened(time: Requirement) -> Requirement:
    first, last = time.years
    span = f"{max(first - YEARS_WIDENED, 0)}-{last + YEARS_WIDENED}"
    return replace(time, condition=f"era={span}")


def _misses(matcher: Matcher, wanted: Requirements, item: int) -> tuple[str, ...]:
    """The conditions that an item does not meet; of several times or makers one is enough."""
    missed: list[str] = []
    for requirement in wanted:
        alone = requirement.attribute in ("genre", "price")
        group = [requirement] if alone else wanted.of(requirement.attribute)
        if not matcher.any_of(group)[item]:
            missed.append(requirement.condition)
    return tuple(missed)


def _relaxed(
    matcher: Matcher, wanted: Requirements, items: Sequence[int], misses: Sequence[tuple[str, ...]]
) -> tuple[str, ...]:
    """The steps that gave way for the chosen items: no more than they needed."""
    asked, _ = _genres(wanted)
    near, one = matcher.any_of(map(_widened, wanted.of("years"))), matcher.any_of(asked)
    found = set()
    for item, missed in zip(items, misses, strict=True):
        for requirement in map(Requirement, missed):
            step: str = requirement.attribute
            if step == "years":
                step = "years widened" if near[item] else "years"
            elif step == "genre":
                part = "some genres" if one[item] else "genres"
                step = "refusals" if requirement.refuses else part
            found.add(step)
    # the larger step includes the smaller
    found -= {"years widened"} if "years" in found else set()
    found -= {"some genres"} if "genres" in found else set()
    return tuple(step for step in STEPS if step in found)


def _joined(parts: Sequence[str]) -> str:
    """Parts of a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join([*([", ".join(parts[:-1])] if parts[1:] else []), parts[-1]])
