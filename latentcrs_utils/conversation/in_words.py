"""What is true of an item, of a requirement and of a turn, in words: from the files of `words/`."""

import re
import textwrap
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.simulation.items import Item
from latentcrs_utils.simulation.phrase_book import domain_of

_N_GENRES = 3  # of an item in a sentence
_PACKAGE, _FOLDER = files("latentcrs_utils"), "conversation/words"


@cache
def words_of(name: str, folder: str = _FOLDER) -> dict[str, Any]:
    """The contents of a file of words; the folder lies in the package."""
    return tomllib.loads(_PACKAGE.joinpath(folder, f"{name}.toml").read_text("utf-8"))


def pattern_of(phrases: Sequence[str]) -> re.Pattern[str]:
    """A pattern of whole words, whatever the case."""
    return re.compile(rf"(?<![\w-])(?:{'|'.join(phrases)})(?![\w-])", re.I)


TEMPLATES = jinja2.Environment(
    loader=jinja2.FunctionLoader(lambda path: _PACKAGE.joinpath(path).read_text("utf-8")),
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
"""The templates of longer texts; whoever needs a filter adds it."""


def render(name: str, **values: Any) -> str:
    """A template, filled."""
    return TEMPLATES.get_template(f"{_FOLDER}/{name}.jinja").render(values)


def short(text: str) -> str:
    """The beginning of a text, on one line."""
    return textwrap.shorten(text, 60, placeholder=" …") if " " in text else text[:60]


def percent(share: float) -> str:
    """A share in percent: "12 %"."""
    return f"{100 * share:.0f} %"


TEMPLATES.globals |= {"zip": zip}
TEMPLATES.filters |= {"short": short, "percent": percent}


def thing(data_name: str) -> str:
    """What the items of a data set are called: "film", "game", "album" or "item"."""
    if data_name.startswith("ml-"):
        return "film"
    return {"games": "game", "albums": "album"}.get(domain_of(data_name), "item")


def listed(words: Sequence[str], link: str = "and") -> str:
    """Words in a row: "a, b and c"."""
    *others, end = words or ("",)
    return f"{', '.join(others)} {link} {end}" if others else end


def with_article(words: str) -> str:
    """Words with "a" or "an" before them."""
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"


def asked(constraint: Constraint, noun: str) -> str:
    """What a constraint asks for: "a horror film", "no horror film", "one from the 1980s"."""
    words = _plain(constraint, noun)
    if constraint.slot == "genre":
        return f"no {words}" if constraint.negated else with_article(words)
    return f"{'none' if constraint.negated else 'one'} {words}"


def _plain(constraint: Constraint, noun: str) -> str:
    """A constraint whatever its sign: "horror film", "from the 1980s"."""
    words = replace(constraint, negated=False).label
    if constraint.slot == "genre":
        adjective = words_of("replies")["adjectives"].get(words) if noun == "film" else None
        return f"{adjective} {noun}" if adjective else f"{noun} under {words}"
    return f"from {words}" if constraint.attribute == "years" else words


def told_of(item: Item, genres: Sequence[str], met: Sequence[Constraint], noun: str) -> str:
    """What the data says of an item, first of all the constraints that it meets.

    "is a horror and sci-fi film from the 1980s"; `genres` are in the catalogue's words and order.
    """
    wanted = [c.value for c in met]
    genres = sorted(genres, key=lambda genre: genre not in wanted)[:_N_GENRES]
    adjectives = [words_of("replies")["adjectives"].get(genre, "") for genre in genres]
    told = f"is listed under {listed(genres)}"
    if not genres or (noun == "film" and all(adjectives)):
        told = f"is {with_article(f'{listed(adjectives)} {noun}'.strip())}"
    known = [(slot, getattr(item, slot)) for slot in ("platform", "creator")]
    facts = [c for c in met if not c.negated and c.slot != "genre"]
    facts += [Constraint(slot, value) for slot, value in known if value]
    told = " ".join([told, *(_plain(c, noun) for c in dict.fromkeys(facts))])
    refused = [asked(c, noun).replace("none ", "not ") for c in met if c.negated]
    kinds = [words for words in refused if words.startswith("no ") and words.endswith(f" {noun}")]
    if len(kinds) > 1:  # "no animated film and no horror film" as "no animated or horror film"
        one = listed([k.removeprefix("no ").removesuffix(f" {noun}") for k in kinds], "or")
        refused = [f"no {one} {noun}", *(words for words in refused if words not in kinds)]
    return listed([told, *refused])
