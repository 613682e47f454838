"""Amazon Reviews 2023, in the files of its provider (McAuley Lab): Video Games, CDs and Vinyl.

A category is two files of JSON lines, reviews and metadata, joined on the shared ``parent_asin``.
"""

import html
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import polars as pl

from latentcrs_utils.data.json_lines import Schema, read_json_lines
from latentcrs_utils.data.source import ITEM_SCHEMA, Source, literal, once_each
from latentcrs_utils.support.assets import own_files
from latentcrs_utils.support.progress import note

_WORDS = tomllib.loads(Path(__file__).with_name("amazon.toml").read_text(encoding="utf-8"))
_NO_NAME = set(_WORDS["no_name"])
_PLATFORMS = {level: name for name, own in _WORDS["platforms"].items() for level in own["levels"]}
_IN_TITLE = {name: own["title"] for name, own in _WORDS["platforms"].items() if "title" in own}
_TITLE_PLATFORM = re.compile(rf"(?<![\w-])(?:({')|('.join(_IN_TITLE.values())}))(?![\w-])", re.I)
_SHELF = re.compile("|".join(_WORDS["shelves"]), re.I)
_ROLE = re.compile(rf"\s*\((?:{'|'.join(_WORDS['roles'])})[^)]*\)", re.I)
_READ = {name: re.compile(pattern, re.I) for name, pattern in _WORDS["patterns"].items()}
_LAST_YEAR = 2023  # of the release

RELEASED = ("Original Release Date", "Original release date", "Release Date", "Release date")
LISTED = "Date First Available"


def words(text: str | None) -> str:
    """Resolve entities (``&amp;``) and put single spaces between the words; "" for ``None``."""
    return " ".join(html.unescape(text or "").split())


def title(text: str | None) -> str | None:
    """Return a readable title, ``None`` if there is none (null, empty, "None", "N/A")."""
    return _known(words(text))


def artist(store: str | None) -> str | None:
    """Return the first artist named in a CD's ``store``; "Various Artists" is nobody.

    ``"John Barry  (Composer),     Barry, John  (Composer)    Format: Audio CD"`` -> "John Barry".
    A name with commas and without a role stays whole ("Earth, Wind & Fire").
    """
    return _known(_ROLE.split(_READ["format"].sub("", words(store)), maxsplit=1)[0].strip(" ,;"))


def brand(store: str | None, details: Mapping[str, Any]) -> str | None:
    """Return who makes or publishes a game: ``store``, else what ``details`` say of it."""
    for text in (store, details.get("Brand"), details.get("Manufacturer")):
        found = _READ["format"].sub("", words(text))
        if (shop := _READ["store"].match(found)) is not None:
            found = next(part for part in shop.groups() if part)
        if (name := _known(found.strip(" ,;"))) is not None:
            return name
    return None


def _known(name: str) -> str | None:
    return None if name.lower() in _NO_NAME else name


def price(text: str | None) -> float | None:
    """Return US dollars: "19.99", "$1,299.00", "from 14.99"; anything else, and 0, is ``None``."""
    found = _READ["price"].fullmatch(words(text))
    return (float(found[1].replace(",", "")) or None) if found else None


def year(details: Mapping[str, Any], *, or_listed: bool) -> int | None:
    """Return the year of release, 1900 to 2023, from the ``details`` of the product page.

    ``or_listed``: else that of its first day in the shop; most albums are decades older.
    """
    for key in (*RELEASED, LISTED) if or_listed else RELEASED:
        found = _READ["year"].search(str(details.get(key) or ""))
        if found and int(found[0]) <= _LAST_YEAR:
            return int(found[0])
    return None


def platform(categories: Sequence[str | None], name: str) -> str | None:
    """Return the platform of a game or of gear for one: the deepest level that names one.

    Else the title, if it names exactly one: gear "for PS4, Xbox One and PC" has none.
    """
    for level in reversed(categories):
        if (found := _PLATFORMS.get(words(level))) is not None:
            return found
    matches = _TITLE_PLATFORM.finditer(name)
    named = {list(_IN_TITLE)[match.lastindex - 1] for match in matches if match.lastindex}
    return named.pop() if len(named) == 1 else None


def joined(paths: Sequence[str | None]) -> list[str]:
    """Join paths written as lists under their first root; nothing if one is no list of texts."""
    with suppress(ValueError, TypeError):
        lists = [literal(path or "[]") for path in paths]
        levels = [*lists[0][:1], *(level for own in lists for level in own[1:])]
        return levels if all(isinstance(level, str) for level in levels) else []
    return []


def genres(categories: Sequence[str | None]) -> list[str]:
    """Return the levels of the category path that tell something about the item.

    ``["Video Games", "Legacy Systems", "PlayStation Systems", "Sony PSP", "Accessories",
    "Batteries"]`` -> ``["Accessories", "Batteries"]``: not the root, not the platform, no shelves.
    """
    levels = (words(level) for level in categories[1:])
    kept = (x for x in levels if x and x not in _PLATFORMS and not _SHELF.fullmatch(x))
    return list(dict.fromkeys(kept))


_REVIEW: Schema = dict(
    user_id=pl.String(), parent_asin=pl.String(), rating=pl.Float64(), timestamp=pl.Int64()
)
_METADATA: Schema = {
    **dict.fromkeys(("parent_asin", "title", "store", "price"), pl.String()),
    "categories": pl.List(pl.String),
    "details": pl.Struct(dict.fromkeys((*RELEASED, LISTED, "Brand", "Manufacturer"), pl.String)),
}


def read_amazon(category: Literal["Video_Games", "CDs_and_Vinyl"]) -> Source:
    """Read 4.6 million reviews of 137 thousand games and gear, or 4.8 of 702 thousand albums.

    Of a user's several reviews of one item the earliest counts, as in the provider's own benchmark
    files. The official release's loop is known for Video Games; for CDs it is taken to be the same.
    AssetError: the files are not in ``LATENTCRS_DATA``. DataError: a line cannot be used.
    """
    urls = tuple(url.format(category) for url in _WORDS["urls"])
    title = f"{category.replace('_', ' ')} (Amazon Reviews 2023)"
    reviews, metadata = own_files(title, urls, "https://amazon-reviews-2023.github.io/")
    earliest = once_each(ratings := _ratings(reviews), "first")
    items = _items(metadata, games=category == "Video_Games")
    return Source(earliest, items, repeated=len(ratings) - len(earliest), official_passes=10)


def _ratings(path: Path) -> pl.DataFrame:
    """Read a file of reviews; ids become numbers as soon as a block of lines is read."""
    users, items = (pl.Categorical(pl.Categories.random(kind)) for kind in ("user", "item"))
    ids = {"user": pl.col("user_id").cast(users), "item": pl.col("parent_asin").cast(items)}
    blocks = read_json_lines(path, _REVIEW, required=tuple(_REVIEW))
    return pl.concat([b.select("rating", "timestamp", **ids) for b in blocks], rechunk=True)


def _items(path: Path, *, games: bool) -> pl.DataFrame:
    """Read a file of metadata: the items with a usable title, each once, in file order."""
    schema = {**ITEM_SCHEMA, "creator": pl.String(), "platform": pl.String(), "price": pl.Float64()}
    unread: Counter[str] = Counter()

    def described(row: dict[str, Any]) -> dict[str, Any]:
        name, levels, details = title(row["title"]), row["categories"] or [], row["details"] or {}
        if levels and (levels[0] or "").startswith("["):
            unread["categories"] += not (levels := joined(levels))
        found = {
            "raw_item": row["parent_asin"],
            "title": name,
            "year": year(details, or_listed=games),
            "genres": genres(levels),
            "creator": brand(row["store"], details) if games else artist(row["store"]),
            "platform": platform(levels, name or "") if games else None,
            "price": price(row["price"]),
        }
        dates = [title(details.get(key)) for key in (*RELEASED, LISTED)[: None if games else -1]]
        unread["dates"] += found["year"] is None and any(dates)
        unread["prices"] += found["price"] is None and title(row["price"]) is not None
        unread["lines without a title"] += name is None
        return found

    blocks = read_json_lines(path, _METADATA, ("parent_asin",))
    tables = [pl.DataFrame(map(described, b.iter_rows(named=True)), schema) for b in blocks]
    items = pl.concat(tables, rechunk=True).drop_nulls("title")
    once = items.unique("raw_item", keep="first", maintain_order=True)
    unread["further lines of an item"] = len(items) - len(once)
    if what := ", ".join(f"{times:,} {name}" for name, times in (+unread).items()):
        note(f"{path}: left out or not understood: {what}.")
    return once if games else once.drop("platform")
