"""Finding items by a part of their title."""

from collections.abc import Sequence

from latentcrs_utils.baselines.popularity import popularity
from latentcrs_utils.conversation.guards import words
from latentcrs_utils.conversation.policies import describe
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import UNKNOWN_TITLE

# longer than any title that somebody types
_LONGEST_QUERY = 100


class TitleSearch:
    """Finds items by words of their titles, the best known first.

    Args:
        data: the catalogue; how often an item was liked says how well known it is.
    """

    def __init__(self, data: Dataset):
        self.data = data
        order = popularity(data).argsort(descending=True, stable=True).tolist()
        named = [item for item in order if item and data.titles[item] != UNKNOWN_TITLE]
        self._known_first = named
        self._spelled = {item: " " + " ".join(words(self.label(item))) for item in named}

    def label(self, item: int) -> str:
        """Title and year of an item."""
        return describe(self.data, item).label

    def find(self, query: str, n: int) -> tuple[Sequence[int], int]:
        """Items that have all words of a query in their titles; of the last word the beginning.

        Args:
            query: some words; accents and capitals do not matter.
            n: how many at most.

        Returns:
            Item ids, the best known first, and how many there are in all. Without a word in the
            query these are the best known items.
        """
        wanted = words(query[:_LONGEST_QUERY])
        if not wanted:
            found = [] if query.strip() else self._known_first
        else:
            found = [i for i in self._known_first if self._fits(self._spelled[i], wanted)]
        return found[:n], len(found)

    @staticmethod
    def _fits(spelled: str, wanted: Sequence[str]) -> bool:
        *whole, last = wanted
        return f" {last}" in spelled and all(f" {word} " in f"{spelled} " for word in whole)
