"""What may be required of the items of one catalogue: its own values, as a form to be filled in."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any

from latentcrs_utils.constraints.constraint import Constraint, matcher_for
from latentcrs_utils.constraints.lexicon import lexicon_for, mentions
from latentcrs_utils.constraints.negation import words
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import UNKNOWN_TITLE
from latentcrs_utils.simulation.items import PRICE_STEPS
from latentcrs_utils.simulation.phrase_book import ERA_PARTS
from latentcrs_utils.simulation.titles import FILMS_ELSEWHERE, TitleIndex

# A form is bounded: a small model fills an open list for ever.
MOST_VALUES = 40
MOST_ENTRIES = 2
LONGEST_QUOTATION = 60
_COMPARED = re.compile(r"\b(?:older|earlier|newer|later|more recent) than(?: the)? $", re.I)


class Vocabulary:
    """The values of one catalogue, and how its users name them.

    ``fields`` maps a field of the form to its values as they are written there, and these to their
    constraints: the most common genres (asked for and refused), times, platforms, creators and
    prices, where the catalogue has any.
    """

    def __init__(self, data: Dataset):
        catalogue = matcher_for(data).catalogue
        items, self.domain = catalogue.items[1:], catalogue.domain
        self.lexicon = lexicon_for(data)
        named = [(v.item, v.title, v.year) for v in items if v.title != UNKNOWN_TITLE]
        self._years = {item: year for item, _, year in named}
        elsewhere = FILMS_ELSEWHERE if self.domain == "films" else ()
        self.titles = TitleIndex(named, lambda word: bool(mentions(word, self.lexicon)), elsewhere)
        genres = _commonest(genre for item in items for genre in item.genres)
        prices = [str(step) for step in PRICE_STEPS] if self.lexicon.prices else []
        decades = sorted({item.decade for item in items if item.decade is not None})
        known = {item.era for item in items}
        eras = {f"{part} 1990s": Constraint("era", era) for era, part in ERA_PARTS.items()
                if era in known}  # fmt: skip
        fields = {
            "genres": _values("genre", genres),
            "not_genres": {name: Constraint("genre", name, negated=True) for name in genres},
            "years": {f"{decade}s": Constraint("decade", str(decade)) for decade in decades} | eras,
            "platforms": _values("platform", _commonest(i.platform for i in items if i.platform)),
            "creators": _values("creator", _commonest(i.creator for i in items if i.creator)),
            "prices": _values("price", prices),
        }
        self.fields: Mapping[str, Mapping[str, Constraint]] = {n: v for n, v in fields.items() if v}

    def plain_words(self, message: str) -> str:
        """Return a message of the same length: a title is blank, after "older than" its year."""
        for title in self.titles.find(message):
            n, years = title.end - title.start, {self._years[item] for item in title.items}
            compared = _COMPARED.search(message, 0, title.start) and len(years) == 1 and n > 3
            blank = str(years.pop() or "_" * n).ljust(n) if compared else "_" * n
            message = message[: title.start] + blank + message[title.end :]
        return message

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the form: bounded lists, the words before the value that they mean."""
        quotation = {"type": "string", "maxLength": LONGEST_QUOTATION}
        lists = {}
        for name, values in self.fields.items():
            entry = _closed(words=quotation, value={"type": "string", "enum": [*values]})
            lists[name] = {"type": "array", "maxItems": MOST_ENTRIES, "items": entry}
        return _closed(**lists)

    @cached_property
    def examples(self) -> list[tuple[str, dict[str, list[dict[str, str]]]]]:
        """Messages with the form filled in, to show a model what is meant."""
        shown = []
        for example in words(self.domain)["examples"]:
            form = {}
            for name, known in self.fields.items():
                filled = example.get(name, {}).items()
                form[name] = [{"words": w, "value": v} for w, v in filled if v in known]
            shown.append((example["message"], form))
        return shown


vocabulary_for = lru_cache(maxsize=4)(Vocabulary)  # of a data set, one for all conversations


def _closed(**properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has exactly these properties."""
    closed = {"required": [*properties], "additionalProperties": False}
    return {"type": "object", "properties": properties, **closed}


def _commonest(values: Iterable[str]) -> list[str]:
    """Return the commonest values in alphabetical order."""
    return sorted(value for value, _ in Counter(values).most_common(MOST_VALUES))


def _values(slot: str, values: Iterable[str]) -> dict[str, Constraint]:
    return {value: Constraint(slot, value) for value in values}
