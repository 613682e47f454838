"""Amazon Reviews 2023, in the files of its provider (McAuley Lab): Video Games, CDs and Vinyl.

A category is two files of JSON lines: reviews, and metadata of the items. They are joined on
``parent_asin``, the page that variants of one item share.
"""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from latentcrs_utils.data.json_lines import Schema, read_json_lines
from latentcrs_utils.data.source import Source
from latentcrs_utils.errors import DataError
from latentcrs_utils.support.assets import own_files

NO_NAME = {
    "", "-", "—", "n/a", "na", "nan", "none", "null", "unknown", "generic", "unbranded", "no brand",
    "not specified", "various", "various artists", "various artist",
}  # fmt: skip

# of a platform: what a level of the category path calls it, and a title where the path has none
_PLATFORMS = tomllib.loads(
    Path(__file__).with_name("amazon_platforms.toml").read_text(encoding="utf-8")
)
PLATFORMS = {level: name for name, calls in _PLATFORMS.items() for level in calls["levels"]}
_IN_TITLE = {name: calls["title"] for name, calls in _PLATFORMS.items() if "title" in calls}
_TITLE_PLATFORM = re.compile(
    r"(?<![\w-])(?:" + "|".join(f"({pattern})" for pattern in _IN_TITLE.values()) + r")(?![\w-])",
    re.I,
)

# a shelf of the shop, not a kind of item
_SHELF = re.compile(
    r"(?:.* )?Systems$|Today's Deals.*|.* Deals$|Styles$|Featured .*|Categories$", re.I
)
_ROLE = re.compile(
    r"\s*\((?:artist|composer|performer|conductor|orchestra|ensemble|author|actor|director|"
    r"producer|primary contributor|contributor|writer|lyricist|arranger|vocals?|narrator)[^)]*\)",
    re.I,
)
_FORMAT = re.compile(r"\s*\b(?:Format|Rated):.*$", re.S)
_STORE = re.compile(r"^(?:visit the (?P<store>.+) store|brand: (?P<brand>.+)|by (?P<by>.+))$", re.I)
_PRICE = re.compile(r"(?:from )?\$? ?(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)", re.I)
_YEAR = re.compile(r"(?<!\d)(19\d\d|20\d\d)(?!\d)")
_LAST_YEAR = 2023  # of the release

RELEASED = ("Original Release Date", "Original release date", "Release Date", "Release date")
LISTED = "Date First Available"


def words(text: str | None) -> str:
    """Resolve entities (``&amp;``) and put single spaces between the words; "" for ``None``."""
    return " ".join(html.unescape(text or "").split())


def title(text: str | None) -> str | None:
    """Return a readable title, ``None`` if there is none (null, empty, "None", "N/A")."""
    found = words(text)
    return None if found.lower() in NO_NAME else found


def artist(store: str | None) -> str | None:
    """Return the first artist named in a CD's ``store``.

    ``"John Barry  (Composer),     Barry, John  (Composer)    Format: Audio CD"`` -> "John Barry".
    A name with commas and without a role stays whole ("Earth, Wind & Fire"); "Various Artists" is
    nobody.
    """
    found = _FORMAT.sub("", words(store))
    return _name(_ROLE.split(found, maxsplit=1)[0])


def brand(store: str | None, details: Mapping[str, Any]) -> str | None:
    """Return who makes or publishes a game: ``store``, else what ``details`` say of it."""
    for text in (store, details.get("Brand"), details.get("Manufacturer")):
        found = _FORMAT.sub("", words(text))
        if (shop := _STORE.match(found)) is not None:
            found = next(part for part in shop.groups() if part)
        if (name := _name(found)) is not None:
            return name
    return None


def _name(text: str) -> str | None:
    found = text.strip(" ,;")
    return None if found.lower() in NO_NAME else found


def price(text: str | None) -> float | None:
    """Return US dollars: "19.99", "$1,299.00", "from 14.99"; anything else, and 0, is ``None``."""
    found = _PRICE.fullmatch(words(text))
    return (float(found[1].replace(",", "")) or None) if found else None


def year(details: Mapping[str, Any], *, or_listed: bool) -> int | None:
    """Return the year of release from ``details``, 1900 to 2023.

    Args:
        details: keys and values of the product page.
        or_listed: whether the date on which the shop first listed it will do. It does for games
            and gear; most albums are decades older than their page.
    """
    for key in (*RELEASED, LISTED) if or_listed else RELEASED:
        found = _YEAR.search(str(details.get(key) or ""))
        if found and int(found[0]) <= _LAST_YEAR:
            return int(found[0])
    return None


def platform(categories: Sequence[str | None], name: str) -> str | None:
    """Return the platform of a game or of gear for one.

    The deepest level of the category path that names one; else the title, if it names exactly
    one: gear "for PS4, Xbox One and PC" has none.
    """
    for level in reversed(categories):
        if (found := PLATFORMS.get(words(level))) is not None:
            return found
    matches = _TITLE_PLATFORM.finditer(name)
    named = {list(_IN_TITLE)[match.lastindex - 1] for match in matches if match.lastindex}
    return named.pop() if len(named) == 1 else None


def genres(categories: Sequence[str | None]) -> list[str]:
    """Return the levels of the category path that tell something about the item.

    ``["Video Games", "Legacy Systems", "PlayStation Systems", "Sony PSP", "Accessories",
    "Batteries"]`` -> ``["Accessories", "Batteries"]``: not the root, not the platform, no shelves.
    """
    levels = (words(level) for level in categories[1:])
    kept = (x for x in levels if x and x not in PLATFORMS and not _SHELF.fullmatch(x))
    return list(dict.fromkeys(kept))


_REVIEW: Schema = {
    "user_id": pl.String(),
    "parent_asin": pl.String(),
    "rating": pl.Float64(),
    "timestamp": pl.Int64(),
}
_METADATA: Schema = {
    "parent_asin": pl.String(),
    "title": pl.String(),
    "store": pl.String(),
    "price": pl.String(),
    "categories": pl.List(pl.String),
    "details": pl.Struct(
        {name: pl.String for name in (*RELEASED, LISTED, "Brand", "Manufacturer")}
    ),
}
_RAW = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw"
_OFFICIAL_PASSES = 10
Row = Mapping[str, Any]
# the items' columns beside raw_item and title, and how a row of the metadata fills them
Columns = dict[str, tuple[pl.DataType, Callable[[Row], Any]]]
_ALBUM: Columns = {
    "year": (pl.Int32(), lambda row: year(row["details"], or_listed=False)),
    "genres": (pl.List(pl.String), lambda row: genres(row["categories"])),
    "creator": (pl.String(), lambda row: artist(row["store"])),
    "price": (pl.Float64(), lambda row: price(row["price"])),
}
_GAME: Columns = {
    "year": (pl.Int32(), lambda row: year(row["details"], or_listed=True)),
    "genres": _ALBUM["genres"],
    "creator": (pl.String(), lambda row: brand(row["store"], row["details"])),
    "platform": (pl.String(), lambda row: platform(row["categories"], row["title"])),
    "price": _ALBUM["price"],
}


def read_amazon_video_games() -> Source:
    """Read Video Games: 4.6 million reviews of 137 thousand games, consoles and accessories.

    ``creator`` is the brand; ``genres`` are the levels of the category path that tell something;
    ``year`` is that of release, else of the first day in the shop. Of a user's several reviews of
    one item, the earliest counts, as in the provider's own benchmark files.

    Raises:
        AssetError: the files are not in ``LATENTCRS_DATA``.
        DataError: a line of a file cannot be used.
    """
    return _read("Video Games", "Video_Games", _GAME)


def read_amazon_cds() -> Source:
    """Read CDs and Vinyl: 4.8 million reviews of 702 thousand albums.

    As :func:`read_amazon_video_games`, but ``creator`` is the artist, there is no ``platform``,
    and ``year`` is that of release only: most albums are older than the shop. The official
    release's loop is known for Video Games; here it is taken to be the same.
    """
    return _read("CDs and Vinyl", "CDs_and_Vinyl", _ALBUM)


def _read(title: str, category: str, columns: Columns) -> Source:
    urls = (
        f"{_RAW}/review_categories/{category}.jsonl.gz",
        f"{_RAW}/meta_categories/meta_{category}.jsonl.gz",
    )
    page = "https://amazon-reviews-2023.github.io/"
    reviews, metadata = own_files(f"{title} (Amazon Reviews 2023)", urls, page)
    ratings, repeated = _earliest(_ratings(reviews))
    items = _items(metadata, columns)
    return Source(ratings, items, repeated=repeated, official_passes=_OFFICIAL_PASSES)


def _ratings(path: Path) -> pl.DataFrame:
    """Read a file of reviews; ids become numbers as soon as a block of lines is read."""
    users, items = (pl.Categorical(pl.Categories.random(kind)) for kind in ("user", "item"))
    ids = [
        pl.col("user_id").cast(users).alias("user"),
        pl.col("parent_asin").cast(items).alias("item"),
    ]
    blocks = read_json_lines(path, _REVIEW, required=tuple(_REVIEW))
    return _joined(path, (block.select(*ids, "rating", "timestamp") for block in blocks))


def _joined(path: Path, blocks: Iterable[pl.DataFrame]) -> pl.DataFrame:
    found = list(blocks)
    if not found:
        raise DataError(f"{path} is empty; get the file again.")
    return pl.concat(found, rechunk=True)


def _earliest(ratings: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Keep a user's earliest review of an item (of equal times the first in the file)."""
    user, item = (ratings[name].to_physical().cast(pl.UInt64) for name in ("user", "item"))
    again = (user * (1 << 32) + item).is_duplicated()
    numbered = ratings.with_row_index("row")
    earliest = pl.col("row").sort_by("timestamp", "row").first().over("user", "item")
    first = numbered.filter(again).filter(pl.col("row") == earliest)
    kept = pl.concat([numbered.filter(~again), first]).sort("row").drop("row")
    return kept, len(ratings) - len(kept)


def _items(path: Path, columns: Columns) -> pl.DataFrame:
    """Read a file of metadata: the items with a usable title, each once, in file order."""
    schema: Schema = {"raw_item": pl.String(), "title": pl.String()}
    schema |= {name: dtype for name, (dtype, _) in columns.items()}

    def described(block: pl.DataFrame) -> pl.DataFrame:
        rows = []
        for row in block.iter_rows(named=True):
            if (name := title(row["title"])) is not None:
                row |= {"title": name, "categories": row["categories"] or []}
                row["details"] = row["details"] or {}
                rows.append(
                    (row["parent_asin"], name, *(fill(row) for _, fill in columns.values()))
                )
        return pl.DataFrame(rows, schema=schema, orient="row")

    blocks = read_json_lines(path, _METADATA, required=("parent_asin",))
    items = _joined(path, map(described, blocks))
    return items.unique("raw_item", keep="first", maintain_order=True)
