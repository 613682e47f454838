"""What may be required of the items of one catalogue: its own values, as a form to be filled in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

from latentcrs_utils.constraints.constraint import Constraint, matcher_for
from latentcrs_utils.constraints.lexicon import Lexicon, lexicon_for
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.simulation.items import ERAS, PRICE_STEPS
from latentcrs_utils.simulation.phrasings import ERA_PARTS, Domain
from latentcrs_utils.simulation.titles import TitleFinder

# A form is bounded: a small model fills an open list for ever.
MOST_VALUES = 40
MOST_ENTRIES = 2
LONGEST_QUOTATION = 60
_RECENT_YEARS = 3
# "more recently than that" compares with an example; "more recent than 1990" names a time
_COMPARISON = re.compile(r"\bmore recent(?:ly)?(?: made)? than\b(?! (?:the )?['\d])", re.I)

Form = dict[str, list[dict[str, str]]]
# message -> field -> words -> value; a small model repeats the last one, so that is an empty form
_EXAMPLES: dict[Domain, tuple[tuple[str, dict[str, dict[str, str]]], ...]] = {
    "films": (
        (
            "a cowboy film, but nothing with singing",
            {
                "genres": {"a cowboy film": "Western"},
                "not_genres": {"nothing with singing": "Musical"},
            },
        ),
        ("It was such a long day. What would you put on?", {}),
        (
            "a detective story from the fifties",
            {"genres": {"a detective story": "Mystery"}, "years": {"from the fifties": "1950s"}},
        ),
        ("Make my kids laugh!", {"genres": {"my kids": "Children's", "laugh": "Comedy"}}),
        (
            "No battles, please. It should be about a couple in love.",
            {"genres": {"about a couple in love": "Romance"}, "not_genres": {"No battles": "War"}},
        ),
        ("Something like Citizen Kane.", {}),
    ),
    "games": (
        (
            "a kart racer for my Switch",
            {
                "genres": {"a kart racer": "Racing"},
                "platforms": {"for my Switch": "Nintendo Switch"},
            },
        ),
        ("It was such a long day. What would you play?", {}),
        (
            "brain teasers under 30 dollars, but nothing for school",
            {
                "genres": {"brain teasers": "Puzzle"},
                "not_genres": {"nothing for school": "Educational"},
                "prices": {"under 30 dollars": "30"},
            },
        ),
        (
            "jump and run games by Nintendo",
            {"genres": {"jump and run": "Platformer"}, "creators": {"by Nintendo": "Nintendo"}},
        ),
        ("Something like Tetris.", {}),
    ),
    "albums": (
        (
            "big band records from the fifties",
            {"genres": {"big band records": "Jazz"}, "years": {"from the fifties": "1950s"}},
        ),
        ("It was such a long day. What would you put on?", {}),
        (
            "something orchestral under 10 dollars, but no carols",
            {
                "genres": {"something orchestral": "Classical"},
                "not_genres": {"no carols": "Christmas"},
                "prices": {"under 10 dollars": "10"},
            },
        ),
        ("Nashville songs to sing along", {"genres": {"Nashville songs": "Country"}}),
        ("Something like Abbey Road.", {}),
    ),
}


class Vocabulary:
    """The values of one catalogue, and how its users name them.

    Args:
        data: the catalogue.

    Attributes:
        domain: what the items are.
        lexicon: of the catalogue, with the years that it spans.
        fields: field of the form -> value as it is written there -> constraint. Genres, genres
            refused and times; of a shop also platforms, creators and prices; the most common
            values of each.
    """

    def __init__(self, data: Dataset):
        films = matcher_for(data).catalogue.items[1:]
        self.domain: Domain = matcher_for(data).catalogue.domain
        years = [film.year for film in films if film.year is not None]
        self.lexicon = _of_these_years(lexicon_for(data), years)
        self._titles = TitleFinder(film.title for film in films)
        genres = _commonest(genre for film in films for genre in film.genres)
        fields: dict[str, dict[str, Constraint]] = {
            "genres": _values("genre", genres),
            "not_genres": {name: Constraint("genre", name, negated=True) for name in genres},
            "years": _times(years, self.domain),
        }
        if self.domain != "films":
            platforms = _commonest(film.platform for film in films if film.platform)
            creators = _commonest(film.creator for film in films if film.creator)
            fields["platforms"] = _values("platform", platforms)
            fields["creators"] = _values("creator", creators)
            fields["prices"] = _values("price", map(str, PRICE_STEPS))
        self.fields: Mapping[str, Mapping[str, Constraint]] = {n: v for n, v in fields.items() if v}

    def plain_words(self, message: str) -> str:
        """Return a message of the same length in which titles and comparisons are blanked."""
        blanked = self._titles.blank(message)
        return _COMPARISON.sub(lambda match: "_" * len(match.group()), blanked)

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the form: bounded lists, the words before the value that they mean."""
        words = {"type": "string", "maxLength": LONGEST_QUOTATION}
        lists = {
            name: {
                "type": "array",
                "maxItems": MOST_ENTRIES,
                "items": _closed({"words": words, "value": {"type": "string", "enum": [*values]}}),
            }
            for name, values in self.fields.items()
        }
        return _closed(lists)

    @cached_property
    def examples(self) -> list[tuple[str, Form]]:
        """Messages with the form filled in, to show a model what is meant."""
        return [
            (
                message,
                {
                    field: [
                        {"words": words, "value": value}
                        for words, value in form.get(field, {}).items()
                        if value in values
                    ]
                    for field, values in self.fields.items()
                },
            )
            for message, form in _EXAMPLES[self.domain]
        ]


@lru_cache(maxsize=4)
def vocabulary_for(data: Dataset) -> Vocabulary:
    """Return the vocabulary of a data set, one for all conversations about it."""
    return Vocabulary(data)


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def _commonest(values: Iterable[str]) -> list[str]:
    """Return the commonest values in alphabetical order."""
    return sorted(value for value, _ in Counter(values).most_common(MOST_VALUES))


def _values(slot: str, values: Iterable[str]) -> dict[str, Constraint]:
    return {value: Constraint(slot, value) for value in values}


def _times(years: list[int], domain: Domain) -> dict[str, Constraint]:
    """Return the decades of a catalogue, and of films the parts of the nineties."""
    decades = sorted({year // 10 * 10 for year in years})
    times = {f"{decade}s": Constraint("decade", str(decade)) for decade in decades}
    if domain == "films":
        times |= {
            f"{ERA_PARTS[name]} 1990s": Constraint("era", name)
            for name, (first, last) in ERAS.items()
            if any(first <= year <= last for year in years)
        }
    return times


def _of_these_years(lexicon: Lexicon, years: list[int]) -> Lexicon:
    """Return the lexicon for a catalogue whose newest year decides what "recent" means."""
    if not years or lexicon.of_shop:
        return lexicon
    first, last = min(*years, lexicon.years[0]), max(years)
    return replace(lexicon, years=(first, last), recent=(last - _RECENT_YEARS + 1, last))
