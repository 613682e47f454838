"""Small data sets in the form of the Amazon ones, with real titles where the copies are at hand.

Publishers, prices, years and most genres are invented (the copies have none).
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import polars as pl

from latentcrs_utils.constraints.lexicon import PLATFORM_WORDS, lexicon_of
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.simulation.phrasings import domain_of
from tests.provider_files import folder_with

PUBLISHERS = (
    "Nintendo",
    "Sony",
    "EA",
    "Capcom",
    "Ubisoft",
    "Tiny Studio",
    "Sega",
    "Various Artists",
)
ARTISTS = ("Miles Davis", "The Invented Four", "Ada Quill", "Various Artists", "Soft Ladders")
GEAR = {
    "controller": "Gamepads & Standard Controllers", "headset": "Headsets", "cable": "Cables",
    "charger": "Chargers", "case": "EvalSet", "skin": "Skins", "memory": "Memory Cards",
    "keyboard": "Gaming Keyboards", "mouse": "Gaming Mice", "wheel": "Steering Wheels",
}  # fmt: skip


def real_folder(name: str) -> Path | None:
    """The folder of a real copy, or None where it is absent."""
    root = folder_with(name)
    return root and root / name


def _draw(key: str, n: int) -> int:
    """A number below n that depends on the key alone."""
    return zlib.crc32(key.encode()) % n


def shop_data(
    name: str, titles: list[str], rest: pl.DataFrame, histories: list[list[int]]
) -> Dataset:
    """A data set of these titles; ``rest`` has year, genres, creator, platform, price."""
    numbers = pl.DataFrame({
        "item": pl.Series(range(1, len(titles) + 1), dtype=pl.Int32),
        "raw_item": [f"B{i:09d}" for i in range(len(titles))], "title": titles,
    })  # fmt: skip
    users = pl.DataFrame({
        "user": pl.Series(range(len(histories)), dtype=pl.Int32),
        "raw_user": [f"u{i}" for i in range(len(histories))],
    })  # fmt: skip
    items = pl.concat([numbers, rest], how="horizontal")
    return Dataset(name, items, users, Sequences.from_lists(histories), {}, "invented")


def _facts(titles: list[str], creators: tuple[str, ...], years: tuple[int, int]) -> pl.DataFrame:
    n_years = years[1] - years[0]
    return pl.DataFrame({
        "year": pl.Series(
            [years[0] + _draw(f"y{t}", n_years) if _draw(f"k{t}", 2) else None for t in titles],
            dtype=pl.Int32,
        ),
        "creator": [creators[_draw(f"c{t}", len(creators))] for t in titles],
        "price": [_draw(f"p{t}", 7000) / 100 if _draw(f"q{t}", 3) else None for t in titles],
    })  # fmt: skip


def games(n_users: int = 400) -> Dataset | None:
    """Real titles, platforms and histories; invented genres, publishers, prices."""
    folder = real_folder("video-games-2018")
    if folder is None:
        return None
    options = {"separator": "\t", "quote_char": None}
    known = pl.read_csv(folder / "platform_by_title.tsv", **options)
    platform_of = dict(known.select("title", "platform").iter_rows())
    title_of = dict(
        pl.read_csv(folder / "item_map.tsv", **options).select("asin", "title").iter_rows()
    )
    number: dict[str, int] = {}
    histories = []
    for line in (folder / "sequences.tsv").read_text().splitlines()[:n_users]:
        asins = [asin for asin in line.split("\t")[1].split() if asin in title_of]
        history = [number.setdefault(asin, len(number) + 1) for asin in asins]
        histories += [history] if len(history) >= 5 else []
    titles = [title_of[asin] for asin in number]
    genres = list(lexicon_of("games").genres)[:17]
    rest = _facts(titles, PUBLISHERS, (1985, 2023)).with_columns(
        pl.Series("genres", [_game_genres(title, genres) for title in titles]),
        pl.Series("platform", [platform_of.get(title) for title in titles], dtype=pl.String),
    )
    return shop_data("amazon-video-games", titles, rest, histories)


def _game_genres(title: str, genres: list[str]) -> list[str]:
    gear = [genre for word, genre in GEAR.items() if word in title.lower()]
    if gear:
        return gear[:1]
    chosen = {genres[_draw(f"{i}{title}", len(genres))] for i in range(_draw(title, 3))}
    return sorted(chosen)


def albums(n_users: int = 400) -> Dataset | None:
    """Real titles and categories; invented artists, years, prices and histories."""
    folder = real_folder("cds-2018")
    if folder is None:
        return None
    table = pl.read_csv(folder / "CDs.item", separator="\t", quote_char=None)
    table.columns = ["raw", "title", "category"]
    table = table.filter(~pl.col("title").str.starts_with("<")).drop_nulls().head(6000)
    titles = table["title"].to_list()
    rng = np.random.default_rng(0)
    histories = [
        rng.choice(len(titles), size=n, replace=False) + 1 for n in rng.integers(5, 14, n_users)
    ]
    rest = _facts(titles, ARTISTS, (1955, 2023)).with_columns(
        table["category"].str.split("; ").alias("genres")
    )
    return shop_data("amazon-cds", titles, rest, [h.tolist() for h in histories])


def invented(
    name: str,
    *,
    title: str = "",
    creator: str = "",
    genres: list[str] | None = None,
    bare: bool = False,
    n_users: int = 60,
) -> Dataset:
    """Forty items with invented titles; the arguments are those of every user's last item.

    Args:
        name: of the data set: what the items are.
        title: of the last item; empty: an invented one.
        creator: likewise.
        genres: likewise.
        bare: know neither year, creator nor price of any item.
        n_users: users, with nine items each; the last one is the same for all if it has a title.
    """
    syllables = ("zor", "bla", "quin", "tep", "mav", "lud", "fenk", "oxi")
    titles = [
        f"{a}{b} {b}{c}".title() for a in syllables for b, c in zip("aeiou", "umnrk", strict=True)
    ]
    domain = domain_of(name)
    known = list(lexicon_of(domain).genres)
    creators = PUBLISHERS if domain == "games" else ARTISTS
    rest = _facts(titles, creators, (1980, 2023)).with_columns(
        pl.Series(
            "genres",
            [sorted({known[_draw(t, len(known))], known[_draw(f"2{t}", 12)]}) for t in titles],
        )
    )
    if domain == "games":
        platforms = list(PLATFORM_WORDS)
        rest = rest.with_columns(
            pl.Series("platform", [platforms[_draw(f"m{t}", len(platforms))] for t in titles])
        )
    if bare:
        rest = rest.with_columns(
            pl.lit(None, dtype=rest[column].dtype).alias(column)
            for column in ("year", "creator", "price")
        )
    last = len(titles)
    if title:
        titles[-1] = title
        rest = rest.with_columns(
            pl.Series(
                "creator", [*rest["creator"][:-1], creator or rest["creator"][-1]], dtype=pl.String
            ),
            pl.Series(
                "genres", [*rest["genres"][:-1].to_list(), genres or rest["genres"][-1].to_list()]
            ),
        )
    rng = np.random.default_rng(0)
    histories = [rng.permutation(last - 1)[:9] + 1 for _ in range(n_users)]
    return shop_data(
        name, titles, rest, [[*h[:-1].tolist(), last if title else int(h[-1])] for h in histories]
    )
