"""What systems know that read attributes only: which item has which, and one parser of words.

CRM, UNICORN and CRIF have no reader of free text, and neither the paper nor its release says how
they get the user's words. Here all of them hear the same: the readings of lexicon and classifier
that the score terms of `LatentCRS+` use, too, as beliefs from -1 (refused) to 1 (asked for).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.constraints.constraint import Constraint, matcher_for
from latentcrs_utils.constraints.lexicon import extract, lexicon_for
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.terms import heard
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.simulation.users import answer_text

SYSTEMS = ("absolute greedy", "maximum entropy", "CRM", "UNICORN", "CRIF")
"""The systems that know items by their attributes."""
N_LEAST = 5  # items of an attribute that is worth a question


class Attributes:
    """The A attributes of a catalogue: genres, decades, and platforms where there are any.

    `names` are constraints, `has` [V + 1, A] says which item has which (row 0, the padding, none),
    `single` [A] whether an item has only one of the attribute's kind. Left out are attributes of
    fewer than five items or of all, and those whose yes or no the lexicon would not understand.
    ConfigError: the data have no attributes.
    """

    def __init__(self, data: Dataset):
        self.data, matcher, lexicon = data, matcher_for(data), lexicon_for(data)
        items = matcher.catalogue.items
        known = {Constraint("genre", genre) for item in items for genre in item.genres}
        known |= {Constraint("decade", str(item.decade)) for item in items if item.decade}
        known |= {Constraint("platform", item.platform) for item in items if item.platform}
        shared = (c for c in known if N_LEAST <= matcher.satisfying(c).sum() < data.n_items)

        def is_heard(said: Constraint) -> bool:
            return extract(answer_text(said), lexicon).constraints == (said,)

        names = (name for name in shared if is_heard(name) and is_heard(name.opposite))
        self.names: tuple[Constraint, ...] = tuple(sorted(names, key=str))
        if not self.names:
            raise ConfigError(
                f"{data.name} has neither genres nor years nor platforms that {N_LEAST} items "
                f"share, and these systems know nothing else: {', '.join(SYSTEMS)}. Choose others."
            )
        table = np.stack([matcher.satisfying(name) for name in self.names], axis=1)
        self.has: Tensor = torch.from_numpy(table)
        self.single: Tensor = torch.tensor([name.slot != "genre" for name in self.names])
        self.signs = lru_cache(1_024)(self._signs)
        self._beliefs: dict[str, Tensor] = {}  # all systems and turns hear the same texts

    def __len__(self) -> int:
        return len(self.names)

    def beliefs(self, texts: Sequence[str]) -> Tensor:
        """How surely each text asks for (above 0) or refuses (below) an attribute, [N, A].

        A span of years asks for every decade that it touches and refuses those within it.
        """
        new = tuple(text for text in dict.fromkeys(texts) if text not in self._beliefs)
        for text, (years, others) in zip(new, heard(self.data, new) if new else (), strict=True):
            belief = torch.zeros(len(self))
            for said, p in [*((span, 1.0) for span in years), *others]:
                belief += p * self.signs(said)
            self._beliefs[text] = belief.clamp(-1, 1)
        known = [self._beliefs[text] for text in texts]
        return torch.stack(known) if known else torch.zeros(0, len(self))

    def _signs(self, said: Constraint) -> Tensor:
        """Which attributes a constraint asks for (1), refuses (-1) or does not touch (0), [A]."""
        sign = -1.0 if said.negated else 1.0
        return torch.tensor([
            sign * (name.within(said) or (not said.negated and _touches(name, said)))
            for name in self.names
        ])  # fmt: skip

    def answered(self, messages: Iterable[str]) -> Tensor:
        """Which attributes some messages are answers about, word by word, bool [A]."""
        said = {*messages}
        both = [{answer_text(name), answer_text(name.opposite)} for name in self.names]
        return torch.tensor([not said.isdisjoint(texts) for texts in both])

    def having(self, accepted: Tensor) -> Tensor:
        """Which items have what is accepted, bool [N, V + 1], from bool [N, A].

        Of genres all, of decades and platforms one; where no item is left, all are.
        """
        genres = accepted & ~self.single
        left = genres.float() @ (~self.has).float().T == 0
        for slot in ("decade", "platform"):
            asked = accepted & torch.tensor([name.slot == slot for name in self.names])
            left &= (asked.float() @ self.has.float().T > 0) | ~asked.any(1, keepdim=True)
        left[:, 0] = False
        return left | (~left.any(1, keepdim=True) & (torch.arange(left.shape[1]) > 0))


def _touches(name: Constraint, said: Constraint) -> bool:
    """Whether two times have a year in common."""
    if name.attribute != "years" or said.attribute != "years":
        return False
    (first, last), (start, end) = name.years, said.years
    return first <= end and start <= last


attributes_of = lru_cache(maxsize=4)(Attributes)
"""The attributes of a data set, read once for all systems."""
