"""Data sets to speak about: MovieLens-100k, Amazon's copies where they are at hand, invented ones.

Publishers, prices, years and most genres of the shops are invented (the copies have none).
"""

import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.constraints.lexicon import lexicon_of
from latentcrs_utils.data.loading import load_dataset
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.phrase_book import POOLS, Domain, domain_of, phrase_book
from latentcrs_utils.simulation.utterances import Utterances, simulate_utterances
from tests.conftest import folder_with

PUBLISHERS = (
    "Nintendo", "Sony", "EA", "Capcom", "Ubisoft", "Tiny Studio", "Sega", "Various Artists",
)  # fmt: skip
ARTISTS = ("Miles Davis", "The Invented Four", "Ada Quill", "Various Artists", "Soft Ladders")
GEAR = {
    "controller": "Gamepads & Standard Controllers", "headset": "Headsets", "cable": "Cables",
    "charger": "Chargers", "case": "Cases", "skin": "Skins", "memory": "Memory Cards",
    "keyboard": "Gaming Keyboards", "mouse": "Gaming Mice", "wheel": "Steering Wheels",
}  # fmt: skip
SHOP_CONFIG = SimulatorConfig(n_cuts=2, n_reused_cuts=3)
# words of five letters or more that are in titles but give nothing away
COMMON = {
    "about", "again", "anything", "could", "everyone", "everything", "first", "going", "great",
    "little", "movie", "never", "night", "nothing", "other", "people", "please", "right", "should",
    "something", "there", "thing", "things", "think", "where", "which", "would", "wrong", "years",
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """A data set, what is said about it, and what is known of its items."""

    data: Dataset
    utterances: Utterances
    catalogue: Catalogue

    @property
    def domain(self) -> Domain:
        return self.catalogue.domain


@cache
def world(name: str) -> World:
    """One of films, games, albums, invented games, invented albums; skips what is not at hand."""
    made = {
        "films": lambda: load_dataset("ml-100k"), "games": _games, "albums": _albums,
        "invented games": lambda: invented("amazon-video-games"),
        "invented albums": lambda: invented("amazon-cds"),
    }  # fmt: skip
    data = made[name]()
    if data is None:
        pytest.skip("no slices of Amazon's 2018 edition beside this checkout")
    config = None if name == "films" else SHOP_CONFIG
    return World(data, simulate_utterances(data, seed=0, config=config), Catalogue(data))


def all_pools(
    domain: Domain = "films", *prefix: str
) -> dict[tuple[str, ...], dict[str, list[str]]]:
    """Every entry of a phrase book, or those under a prefix: path -> {pool: phrases}."""

    def leaves(entry: Any, path: tuple[str, ...]) -> dict[tuple[str, ...], dict[str, list[str]]]:
        if set(entry) <= set(POOLS):
            return {path: entry}
        return {k: v for key, e in entry.items() for k, v in leaves(e, (*path, key)).items()}

    found = leaves({name: e for name, e in phrase_book(domain).items() if name != "items"}, ())
    return {path: entry for path, entry in found.items() if path[: len(prefix)] == prefix}


def words(text: str) -> list[str]:
    """Words as the leak tests compare them, written without the package."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.findall(r"[a-z0-9]+", plain.replace("'", ""))


def first_users(data: Dataset, n: int) -> Dataset:
    return replace(data, interactions=data.interactions.select(range(n)), users=data.users.head(n))


def bare_dataset(**columns: list[Any]) -> Dataset:
    """One user whose films have no genre and no year, or a genre that the phrase book lacks."""
    table = {
        "item": range(1, 7), "raw_item": [str(i) for i in range(1, 7)],
        "title": ["Abel", "Bravo", "Cynic", "Delta", "Ember", "Fjord"],
        "year": [1999, 2104, None, 1985, None, 2104],
        "genres": [["IMAX"], ["Drama"], ["Comedy"], ["IMAX"], [], ["IMAX", "Drama"]],
    }  # fmt: skip
    types = {"item": pl.Int32, "year": pl.Int32}
    items = pl.DataFrame(table | columns, schema_overrides=types)
    users = pl.DataFrame({"user": [0], "raw_user": ["u"]}, schema_overrides={"user": pl.Int32})
    return Dataset("bare", items, users, Sequences.from_lists([[1, 2, 3, 4, 5, 6]]), {}, "none")


def _draw(key: str, n: int) -> int:
    """A number below n that depends on the key alone."""
    return zlib.crc32(key.encode()) % n


def _creators(name: str, titles: list[str]) -> list[str]:
    creators = PUBLISHERS if "games" in name else ARTISTS
    return [creators[_draw(f"c{title}", len(creators))] for title in titles]


def _shop(
    name: str, titles: list[str], first_year: int, histories: list[list[int]], **columns: Any
) -> Dataset:
    """A data set of these titles; year, creator and price are invented, the rest is given."""
    creators = _creators(name, titles)
    years = [first_year + _draw(f"y{t}", 2023 - first_year) if _draw(f"k{t}", 2) else None
             for t in titles]  # fmt: skip
    items = pl.DataFrame({
        "item": range(1, len(titles) + 1), "raw_item": [f"B{i:09d}" for i in range(len(titles))],
        "title": titles, "year": years,
        "creator": creators,
        "price": [_draw(f"p{t}", 7000) / 100 if _draw(f"q{t}", 3) else None for t in titles],
        **columns,
    }, schema_overrides={"item": pl.Int32, "year": pl.Int32, "creator": pl.String,
                         "price": pl.Float64})  # fmt: skip
    numbers = range(len(histories))
    users = pl.DataFrame({"user": numbers, "raw_user": [f"u{i}" for i in numbers]},
                         schema_overrides={"user": pl.Int32})  # fmt: skip
    return Dataset(name, items, users, Sequences.from_lists(histories), {}, "invented")


def _games() -> Dataset | None:
    """Real titles, platforms and histories; invented genres, publishers, prices."""
    if (root := folder_with("video-games-2018")) is None:
        return None
    folder = root / "video-games-2018"
    platform_of, title_of = (
        dict(pl.read_csv(folder / file, separator="\t", quote_char=None).select(columns).rows())
        for file, columns in (("platform_by_title.tsv", ["title", "platform"]),
                              ("item_map.tsv", ["asin", "title"]))
    )  # fmt: skip
    number: dict[str, int] = {}
    histories = []
    for line in (folder / "sequences.tsv").read_text().splitlines()[:400]:
        asins = [asin for asin in line.split("\t")[1].split() if asin in title_of]
        history = [number.setdefault(asin, len(number) + 1) for asin in asins]
        histories += [history] if len(history) >= 5 else []
    titles = [title_of[asin] for asin in number]
    known = list(lexicon_of("games").genres)[:17]

    def genres(title: str) -> list[str]:
        gear = [genre for word, genre in GEAR.items() if word in title.lower()]
        chosen = {known[_draw(f"{i}{title}", len(known))] for i in range(_draw(title, 3))}
        return gear[:1] or sorted(chosen)

    platform = pl.Series([platform_of.get(title) for title in titles], dtype=pl.String)
    columns = {"genres": [genres(title) for title in titles], "platform": platform}
    return _shop("amazon-video-games", titles, 1985, histories, **columns)


def _albums() -> Dataset | None:
    """Real titles and categories; invented artists, years, prices and histories."""
    if (root := folder_with("cds-2018")) is None:
        return None
    table = pl.read_csv(root / "cds-2018" / "CDs.item", separator="\t", quote_char=None)
    table.columns = ["raw", "title", "category"]
    table = table.filter(~pl.col("title").str.starts_with("<")).drop_nulls().head(6000)
    titles, rng = table["title"].to_list(), np.random.default_rng(0)
    histories = [
        (rng.choice(len(titles), size=n, replace=False) + 1).tolist()
        for n in rng.integers(5, 14, 400)
    ]
    return _shop("amazon-cds", titles, 1955, histories, genres=table["category"].str.split("; "))


def invented(
    name: str, *, title: str = "", creator: str = "", genres: Sequence[str] = (), bare: bool = False
) -> Dataset:
    """Forty items with invented titles, sixty users with nine of them each.

    ``title`` makes the fortieth the last item of every user, with this creator and these genres;
    ``bare`` items have neither year, creator nor price.
    """
    syllables = ("zor", "bla", "quin", "tep", "mav", "lud", "fenk", "oxi")
    titles = [
        f"{a}{b} {b}{c}".title() for a in syllables for b, c in zip("aeiou", "umnrk", strict=True)
    ]
    lexicon, last = lexicon_of(domain_of(name)), len(titles)
    known, platforms = list(lexicon.genres), list(lexicon.platforms)
    columns: dict[str, list[Any]] = {
        "genres": [sorted({known[_draw(t, len(known))], known[_draw(f"2{t}", 12)]}) for t in titles]
    }
    if platforms:
        columns["platform"] = [platforms[_draw(f"m{t}", len(platforms))] for t in titles]
    if creator:
        columns["creator"] = [*_creators(name, titles[:-1]), creator]
    if bare:
        columns |= {column: [None] * last for column in ("year", "creator", "price")}
    if genres:
        columns["genres"][-1] = genres
    rng = np.random.default_rng(0)
    histories = [(rng.permutation(last - 1)[:9] + 1).tolist() for _ in range(60)]
    if title:
        titles[-1], histories = title, [[*history[:-1], last] for history in histories]
    return _shop(name, titles, 1980, histories, **columns)
