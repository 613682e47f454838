"""MovieLens, in the formats of its provider and of the embedded copy; AssetError, DataError."""

from collections.abc import Iterable
from functools import partial
from itertools import compress
from pathlib import Path

import polars as pl

from latentcrs_utils.data.csv_files import NO_GENRE, RATING_COLUMNS, Table
from latentcrs_utils.data.source import ITEM_SCHEMA, UNKNOWN_TITLE, Source, mend_year, tidy_title
from latentcrs_utils.errors import AssetError
from latentcrs_utils.support import assets

_ADVICE = "replace the file by a fresh copy"
_old_table = partial(Table, header=False, advice=_ADVICE)
# the smaller sets say Children's where the latest ones say Children: one name for one thing
_SAME_GENRE = {"Children": "Children's"}
# one item's row says only "unknown" ("unkonwn" in the embedded copy); it counts and stays
_NO_TITLE = {"unknown", "unkonwn", ""}


def read_movielens_100k() -> Source:
    """Read MovieLens-100k: 100,000 ratings of 943 users on 1,682 films.

    From ``LATENTCRS_DATA`` if its files are there, else the embedded copy, else downloaded.
    """
    if (files := assets.in_user_folder(assets.ML_100K)) is not None:
        return _read_100k_raw(files)
    try:
        return _read_100k_embedded(assets.fetch(assets.MOVIELENS_100K))
    except AssetError as no_package_index:
        try:
            return _read_100k_raw(assets.fetch(assets.ML_100K))
        except AssetError as no_provider:
            raise AssetError(f"{no_package_index} Or: {no_provider}") from None


def read_movielens_1m() -> Source:
    """Read MovieLens-1M: 1,000,209 ratings of 6,040 users on 3,883 films.

    In ``LATENTCRS_DATA`` it may be ``ratings_known_timestamp.dat``, without ratings of 1 to 3.
    """
    files, name, complete_from = assets.in_user_folder(assets.ML_1M), "ratings.dat", 0.0
    if files is None and (files := assets.in_user_folder(assets.ML_1M_POSITIVES)) is not None:
        name, complete_from = "ratings_known_timestamp.dat", 4.0
    files = files or assets.fetch(assets.ML_1M)
    items = _titled(_old_table(files["movies.dat"], ("item", "title", "genres"), "::"))
    return Source(_old_table(files[name], RATING_COLUMNS, "::").ratings(), items, complete_from)


def read_movielens_latest_small() -> Source:
    """Read MovieLens latest-small: 100,836 ratings of 610 users on 9,742 films up to 2018."""
    small = assets.ML_LATEST_SMALL
    files = assets.in_user_folder(small) or assets.fetch(small)
    columns = ("userid", "movieid", "rating", "timestamp")
    ratings = Table(files["ratings.csv"], columns, advice=_ADVICE).ratings(columns)
    items = Table(files["movies.csv"], ("movieid", "title", "genres"), advice=_ADVICE)
    return Source(ratings, _titled(items))


def _read_100k_embedded(files: dict[str, Path]) -> Source:
    """Read the copy in RecBole's format: tabs, ``name:type`` headers, years apart."""
    table = partial(Table, separator="\t", advice="remove it to have it fetched again")
    items = table(files["ml-100k.item"], ("item_id", "movie_title", "release_year", "class"))
    rows = items.frame.iter_rows()
    columns = ("user_id", "item_id", "rating", "timestamp")
    ratings = table(files["ml-100k.inter"], columns).ratings(columns)
    films = ((raw, title, year, genres.split()) for raw, title, year, genres in rows)
    return Source(ratings, _items(films))


def _read_100k_raw(files: dict[str, Path]) -> Source:
    """Read the provider's files: a column of 0 or 1 for each line of ``u.genre``."""
    genres = _old_table(files["u.genre"], ("genre", "number"), "|").texts("genre")
    columns = ("item", "title", "released", "video", "page", *genres)
    rows = _old_table(files["u.item"], columns, "|").frame.iter_rows()
    items = _items(
        # one film is marked as released on video, after its year
        (raw, title.removesuffix(" (V)"), "", list(compress(genres, map(int, flags))))
        for raw, title, _, _, _, *flags in rows
    )
    return Source(_old_table(files["u.data"], RATING_COLUMNS, "\t").ratings(), items)


def _titled(table: Table) -> pl.DataFrame:
    """Build the items from the three columns id, "Title (Year)", genres between bars."""
    rows = table.frame.iter_rows()
    return _items((raw, title, "", genres.split("|")) for raw, title, genres in rows)


def _items(rows: Iterable[tuple[str, str, str, list[str]]]) -> pl.DataFrame:
    """Build the items from rows of id, title, year ("" where the title has it), genres."""
    items = []
    for raw_item, text, year, genres in rows:
        title = text.strip()
        title, when = mend_year(UNKNOWN_TITLE if title in _NO_TITLE else title, year)
        known = [_SAME_GENRE.get(genre, genre) for genre in genres if genre.lower() not in NO_GENRE]
        items.append((raw_item, tidy_title(title) or UNKNOWN_TITLE, when, known))
    return pl.DataFrame(items, ITEM_SCHEMA, orient="row")
