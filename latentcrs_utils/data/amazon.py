"""Amazon Reviews 2023, in the files of its provider (McAuley Lab): Video Games, CDs and Vinyl.

A category is two files of JSON lines: reviews, and metadata of the items. They are joined on
``parent_asin``, the page that variants of one item share.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from latentcrs_utils.data import amazon as about
from latentcrs_utils.data.json_lines import read_json_lines
from latentcrs_utils.data.source import SHOP_SCHEMA, Source
from latentcrs_utils.errors import DataError
from latentcrs_utils.support.downloads import AMAZON_CDS, AMAZON_VIDEO_GAMES, OwnAsset, own_files

NO_NAME = {
    "", "-", "—", "n/a", "na", "nan", "none", "null", "unknown", "generic", "unbranded", "no brand",
    "not specified", "various", "various artists", "various artist",
}  # fmt: skip

# what a level of the category path, or the end of a title, calls a platform -> its one name
PLATFORMS: dict[str, str] = {
    "PC": "PC", "Mac": "Mac", "Linux Games": "Linux",
    "PlayStation 5": "PlayStation 5", "PlayStation 4": "PlayStation 4",
    "PlayStation 3": "PlayStation 3", "PlayStation 2": "PlayStation 2",
    "PlayStation": "PlayStation", "PlayStation Vita": "PlayStation Vita",
    "Sony PSP": "PSP", "PSP": "PSP",
    "Xbox Series X & S": "Xbox Series X & S", "Xbox One": "Xbox One", "Xbox 360": "Xbox 360",
    "Xbox": "Xbox",
    "Nintendo Switch": "Nintendo Switch", "Wii U": "Wii U", "Wii": "Wii",
    "GameCube": "GameCube", "Nintendo 64": "Nintendo 64",
    "Super Nintendo": "Super Nintendo", "Super Nintendo Entertainment System": "Super Nintendo",
    "Nintendo NES": "NES", "Nintendo Entertainment System": "NES",
    "Nintendo 3DS & 2DS": "Nintendo 3DS", "Nintendo 3DS": "Nintendo 3DS",
    "Nintendo DS": "Nintendo DS",
    "Game Boy Advance": "Game Boy Advance", "Game Boy Color": "Game Boy Color",
    "Game Boy": "Game Boy", "Virtual Boy": "Virtual Boy",
    "Sega Dreamcast": "Sega Dreamcast", "Sega Saturn": "Sega Saturn",
    "Sega Genesis": "Sega Genesis", "Sega Game Gear": "Sega Game Gear",
    "Sega Master System": "Sega Master System", "Sega CD": "Sega CD",
    "Atari 2600": "Atari 2600", "Atari 5200": "Atari 5200", "Atari 7800": "Atari 7800",
    "Atari Lynx": "Atari Lynx", "Atari Jaguar": "Atari Jaguar",
    "TurboGrafx 16": "TurboGrafx 16", "NEOGEO Pocket": "Neo Geo Pocket", "3DO": "3DO",
    "Commodore 64": "Commodore 64", "Colecovision": "ColecoVision", "ColecoVision": "ColecoVision",
    "Intellivision": "Intellivision",
}  # fmt: skip

# where the path has no platform, the title may; the longer name is tried first
_IN_TITLE: tuple[tuple[str, str], ...] = (
    (r"play ?station ?5|ps5", "PlayStation 5"),
    (r"play ?station ?4|ps4", "PlayStation 4"),
    (r"play ?station ?3|ps3", "PlayStation 3"),
    (r"play ?station ?2|ps2", "PlayStation 2"),
    (r"(?:play ?station |ps ?)vita", "PlayStation Vita"),
    (r"psp|play ?station portable", "PSP"),
    (r"play ?station(?! ?(?:network|plus|move|vr|store|now|card|\d))|ps1|psx", "PlayStation"),
    (r"xbox series [xs](?:(?: ?[|&/] ?|, | and )(?:series )?[xs])?", "Xbox Series X & S"),
    (r"xbox ?one", "Xbox One"),
    (r"xbox ?360", "Xbox 360"),
    (r"xbox(?! ?(?:live|game pass|[0-9]))", "Xbox"),
    (r"nintendo switch", "Nintendo Switch"),
    (r"(?:nintendo )?wii ?u", "Wii U"),
    (r"(?:nintendo )?wii", "Wii"),
    (r"game ?cube", "GameCube"),
    (r"nintendo 64|n64", "Nintendo 64"),
    (r"super nintendo|snes", "Super Nintendo"),
    (r"nintendo nes|nes", "NES"),
    (r"(?:nintendo )?[23]ds(?: xl)?", "Nintendo 3DS"),
    (r"(?:nintendo )?ds(?:i| lite)?", "Nintendo DS"),
    (r"game ?boy advance|gba", "Game Boy Advance"),
    (r"game ?boy colou?r", "Game Boy Color"),
    (r"game ?boy", "Game Boy"),
    (r"(?:sega )?dreamcast", "Sega Dreamcast"),
    (r"sega saturn", "Sega Saturn"),
    (r"sega genesis", "Sega Genesis"),
    (r"pc|windows(?: \w+)?", "PC"),
    (r"mac", "Mac"),
)  # fmt: skip
_TITLE_PLATFORM = re.compile(
    r"(?<![\w-])(?:" + "|".join(f"({pattern})" for pattern, _ in _IN_TITLE) + r")(?![\w-])", re.I
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
    named = {
        _IN_TITLE[match.lastindex - 1][1]
        for match in _TITLE_PLATFORM.finditer(name)
        if match.lastindex
    }
    return named.pop() if len(named) == 1 else None


def genres(categories: Sequence[str | None]) -> list[str]:
    """Return the levels of the category path that tell something about the item.

    ``["Video Games", "Legacy Systems", "PlayStation Systems", "Sony PSP", "Accessories",
    "Batteries"]`` -> ``["Accessories", "Batteries"]``: not the root, not the platform, no shelves.
    """
    levels = (words(level) for level in categories[1:])
    kept = (x for x in levels if x and x not in PLATFORMS and not _SHELF.fullmatch(x))
    return list(dict.fromkeys(kept))


_REVIEW: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "parent_asin": pl.String(),
    "rating": pl.Float64(),
    "timestamp": pl.Int64(),
}
_DETAILS = (*about.RELEASED, about.LISTED, "Brand", "Manufacturer")
_METADATA: dict[str, pl.DataType] = {
    "parent_asin": pl.String(),
    "title": pl.String(),
    "store": pl.String(),
    "price": pl.String(),
    "categories": pl.List(pl.String),
    "details": pl.Struct({name: pl.String for name in _DETAILS}),
}
_OFFICIAL_PASSES = 10
Describe = Callable[[Mapping[str, Any], str], tuple[Any, ...]]


def read_amazon_video_games() -> Source:
    """Read Video Games: 4.6 million reviews of 137 thousand games, consoles and accessories.

    Items have ``creator`` (the brand), ``platform`` and ``price`` beside what films have;
    ``genres`` are the levels of the category path that tell something; ``year`` is that of
    release, else of the first day in the shop. Of a user's several reviews of one item, the
    earliest counts, as in the provider's own benchmark files.

    Raises:
        AssetError: the files are not in ``LATENTCRS_DATA``.
        DataError: a line of a file cannot be used.
    """
    return _read(AMAZON_VIDEO_GAMES, _game)


def read_amazon_cds() -> Source:
    """Read CDs and Vinyl: 4.8 million reviews of 702 thousand albums.

    As :func:`read_amazon_video_games`, but ``creator`` is the artist, there is no ``platform``
    (all null), and ``year`` is that of release only: most albums are older than the shop. The
    official release's loop is known for Video Games; here it is taken to be the same.

    Raises:
        AssetError: the files are not in ``LATENTCRS_DATA``.
        DataError: a line of a file cannot be used.
    """
    return _read(AMAZON_CDS, _album)


def _read(asset: OwnAsset, describe: Describe) -> Source:
    reviews, metadata = own_files(asset)
    ratings, repeated = _earliest(_ratings(reviews))
    items = _items(metadata, describe)
    return Source(ratings, items, repeated=repeated, official_passes=_OFFICIAL_PASSES)


def _ratings(path: Path) -> pl.DataFrame:
    """Read a file of reviews; ids become numbers as soon as a block of lines is read."""
    users, items = (pl.Categorical(pl.Categories.random(kind)) for kind in ("user", "item"))
    blocks = [
        block.select(
            pl.col("user_id").cast(users).alias("user"),
            pl.col("parent_asin").cast(items).alias("item"),
            "rating",
            "timestamp",
        )
        for block in read_json_lines(path, _REVIEW, required=tuple(_REVIEW))
    ]
    if not blocks:
        raise DataError(f"{path} is empty; get the file again.")
    return pl.concat(blocks, rechunk=True)


def _earliest(ratings: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Keep a user's earliest review of an item (of equal times the first in the file)."""
    user, item = (ratings[name].to_physical().cast(pl.UInt64) for name in ("user", "item"))
    again = (user * (1 << 32) + item).is_duplicated()
    numbered = ratings.with_row_index("row")
    first = (
        numbered.filter(again)
        .sort("timestamp", "row")
        .unique(["user", "item"], keep="first", maintain_order=True)
    )
    kept = pl.concat([numbered.filter(~again), first]).sort("row").drop("row")
    return kept, len(ratings) - len(kept)


def _items(path: Path, describe: Describe) -> pl.DataFrame:
    """Read a file of metadata: the items with a usable title, each once, in file order."""
    blocks = []
    for block in read_json_lines(path, _METADATA, required=("parent_asin",)):
        rows = []
        for row in block.iter_rows(named=True):
            if (title := about.title(row["title"])) is not None:
                rows.append((row["parent_asin"], title, *describe(row, title)))
        blocks.append(pl.DataFrame(rows, schema=SHOP_SCHEMA, orient="row"))
    if not blocks:
        raise DataError(f"{path} is empty; get the file again.")
    return pl.concat(blocks).unique("raw_item", keep="first", maintain_order=True)


def _game(row: Mapping[str, Any], title: str) -> tuple[Any, ...]:
    """Return year, genres, creator, platform and price of a game, or of gear for games."""
    categories, details = row["categories"] or [], row["details"] or {}
    return (
        about.year(details, or_listed=True),
        about.genres(categories),
        about.brand(row["store"], details),
        about.platform(categories, title),
        about.price(row["price"]),
    )


def _album(row: Mapping[str, Any], title: str) -> tuple[Any, ...]:
    """Return year, genres, creator, platform and price of an album."""
    return (
        about.year(row["details"] or {}, or_listed=False),
        about.genres(row["categories"] or []),
        about.artist(row["store"]),
        None,
        about.price(row["price"]),
    )
