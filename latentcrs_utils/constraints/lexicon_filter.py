"""The lexicon as a hard filter on the catalogue: backbone + what the words say literally."""

from collections.abc import Sequence

import numpy as np

from latentcrs_utils.constraints.constraint import Matcher, Requirements, matcher_for
from latentcrs_utils.constraints.lexicon import extract, lexicon_for
from latentcrs_utils.data.sequences import Dataset


def _allowed(matcher: Matcher, wanted: Requirements) -> np.ndarray:
    """Items that meet the requirements, bool [V + 1], or the next best (see `lexicon_mask`)."""
    facts = matcher.all_of(wanted.asked("price")) & matcher.any_of(wanted.asked("years"))
    facts &= matcher.any_of(wanted.asked("platform")) & matcher.any_of(wanted.asked("creator"))
    facts &= matcher.all_of(wanted.refused)
    for combine in (matcher.all_of, matcher.any_of):
        allowed = facts & combine(wanted.asked("genre"))
        if allowed.any():
            return allowed
    return matcher.items


def lexicon_mask(data: Dataset, texts: Sequence[str]) -> np.ndarray:
    """The items that the literal words of each text allow, bool [N, V + 1], column 0 always False.

    An item is allowed if it meets all that is asked for, one of several times, platforms or
    creators. If no item has all genres, one of them is enough; if nothing is left, or the text
    names nothing that the lexicon knows, every item is allowed.
    """
    matcher, lexicon = matcher_for(data), lexicon_for(data)
    rows = [_allowed(matcher, extract(text, lexicon)) for text in texts]
    return np.array(rows, dtype=bool).reshape(len(texts), data.n_items + 1)
