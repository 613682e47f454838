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
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.phrase_book import POOLS, Domain, domain_of, phrase_book
from latentcrs_utils.simulation.utterances import Utterances, simulate_utterances
from tests.conftest import folder_with
from tests.made import made

PUBLISHERS = (
    "Nintendo", "Sony", "EA", "Capcom", "Ubisoft", "Tiny Studio", "Sega", "Various Artists",
)  # fmt: skip
ARTISTS = ("Miles Davis", "The Invented Four", "Ada Quill", "Various Artists", "Soft Ladders")
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
        "films": lambda: load_dataset("ml-100k"), "games": lambda: _copied("amazon-video-games"),
        "albums": lambda: _copied("amazon-cds"),
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
        "title": ["Abel", "Bravo", "Cynic", "Delta", "Ember", "Fjord"],
        "year": [1999, 2104, None, 1985, None, 2104],
        "genres": [["IMAX"], ["Drama"], ["Comedy"], ["IMAX"], [], ["IMAX", "Drama"]],
    }
    return made("bare", [[1, 2, 3, 4, 5, 6]], **table | columns)


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
    prices = [_draw(f"p{t}", 7000) / 100 if _draw(f"q{t}", 3) else None for t in titles]
    table = {"title": titles, "year": years, "creator": creators, "price": prices} | columns
    return made(name, histories, **table)


def _genres(title: str, known: list[str]) -> list[str]:
    return sorted({known[_draw(title, len(known))], known[_draw(f"2{title}", 12)]})


def _copied(name: str) -> Dataset | None:
    """Real titles with their platforms or categories; all else is invented."""
    if (root := folder_with("video-games-2018", "cds-2018")) is None:
        return None
    games = name == "amazon-video-games"
    file = "video-games-2018/platform_by_title.tsv" if games else "cds-2018/CDs.item"
    table = pl.read_csv(root / file, separator="\t", quote_char=None)
    table.columns = [column.removesuffix(":token_seq") for column in table.columns]
    table = table.filter(~pl.col("title").str.starts_with("<")).head(6000)
    titles, rng = table["title"].to_list(), np.random.default_rng(0)
    if games:
        known = list(lexicon_of("games").genres)
        genres = [_genres(title, known) for title in titles]
        columns = {"genres": genres, "platform": table["platform"]}
    else:
        columns = {"genres": [c.split("; ") if c else [] for c in table["category"]]}
    histories = [
        (rng.choice(len(titles), size=n, replace=False) + 1).tolist()
        for n in rng.integers(5, 14, 400)
    ]
    return _shop(name, titles, 1985 if games else 1955, histories, **columns)


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
    columns: dict[str, list[Any]] = {"genres": [_genres(title, known) for title in titles]}
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
