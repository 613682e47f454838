"""What the metadata of Amazon's release says, in the forms that occur in it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from latentcrs_utils.data import amazon as about


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("  Pok&eacute;mon   Sword &amp; Shield\n", "Pokémon Sword & Shield"),
        ("N", "N"),
        (None, None),
        ("", None),
        (" None ", None),
        ("N/A", None),
    ],
)
def test_title(text: str | None, title: str | None) -> None:
    assert about.title(text) == title


@pytest.mark.parametrize(
    ("store", "artist"),
    [
        ("SWV   Format: Audio CD", "SWV"),
        ("Shrimp City Slim  (Artist)    Format: Audio CD", "Shrimp City Slim"),
        ("John Barry  (Composer),     Barry, John  (Composer)    Format: Audio CD", "John Barry"),
        ("Earth, Wind & Fire  (Artist)   Format: Vinyl", "Earth, Wind & Fire"),
        ("Prince (and the Revolution)   Format: Audio CD", "Prince (and the Revolution)"),
        ("Sigur Rós", "Sigur Rós"),
        ("Various Artists  (Artist)   Format: Audio CD", None),
        ("Rated: Unrated   Format: Audio CD", None),
        ("Format: Audio CD", None),
        ("", None),
        (None, None),
    ],
)
def test_artist(store: str | None, artist: str | None) -> None:
    assert about.artist(store) == artist


@pytest.mark.parametrize(
    ("store", "details", "brand"),
    [
        ("Nintendo", {}, "Nintendo"),
        ("by\n    Sony", {}, "Sony"),
        ("Visit the Logitech G Store", {}, "Logitech G"),
        ("Brand: HORI", {}, "HORI"),
        ("None", {"Manufacturer": "Sega"}, "Sega"),
        (None, {"Brand": "unknown", "Manufacturer": "Atari, "}, "Atari"),
        ("Generic", {}, None),
        (None, {}, None),
    ],
)
def test_brand(store: str | None, details: dict, brand: str | None) -> None:
    assert about.brand(store, details) == brand


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("19.99", 19.99),
        ("$1,299.00", 1299.0),
        ("from 14.99", 14.99),
        ("7", 7.0),
        ("0.0", None),
        ("None", None),
        ("—", None),
        ("12.99 - 20.00", None),
        ("1,2", None),
        ("-5", None),
        (None, None),
    ],
)
def test_price(text: str | None, price: float | None) -> None:
    assert about.price(text) == price


@pytest.mark.parametrize(
    ("details", "listed", "year"),
    [
        ({"Release date": "October 2, 2001", "Date First Available": "May 1, 2009"}, True, 2001),
        ({"Original Release Date": "1967", "Release Date": "June 3, 2009"}, False, 1967),
        ({"Date First Available": "May 1, 2009"}, True, 2009),
        ({"Date First Available": "May 1, 2009"}, False, None),
        ({"Release date": "soon", "Release Date": "2019-11-15"}, False, 2019),
        ({"Release date": "January 1, 2047"}, True, None),
        ({"Release date": "ASIN 120010"}, True, None),
        ({"Release date": None}, True, None),
        ({}, True, None),
    ],
)
def test_year(details: dict, listed: bool, year: int | None) -> None:
    assert about.year(details, or_listed=listed) == year


LEGACY = ["Video Games", "Legacy Systems"]


@pytest.mark.parametrize(
    ("categories", "platform", "genres"),
    [
        (["Video Games", "PlayStation 4", "Games"], "PlayStation 4", ["Games"]),
        (
            [*LEGACY, "PlayStation Systems", "Sony PSP", "Accessories", "Batteries"],
            "PSP",
            ["Accessories", "Batteries"],
        ),
        ([*LEGACY, "PlayStation Systems", "PlayStation", "Games"], "PlayStation", ["Games"]),
        ([*LEGACY, "Xbox Systems", "Xbox", "Games"], "Xbox", ["Games"]),
        ([*LEGACY, "Nintendo Systems", "Nintendo 3DS & 2DS"], "Nintendo 3DS", []),
        (
            [*LEGACY, "Nintendo Systems", "Game Boy Systems", "Game Boy Color", "Games"],
            "Game Boy Color",
            ["Games"],
        ),
        (["Video Games", "Accessories", "Controllers", "Controllers"], None,
         ["Accessories", "Controllers"]),
        (["Video Games"], None, []),
        ([], None, []),
        (["CDs & Vinyl", "Today's Deals in Music", "Rock", None, "Rock &amp; Roll"], None,
         ["Rock", "Rock & Roll"]),
    ],
)  # fmt: skip
def test_platform_and_genres(categories: list, platform: str | None, genres: list[str]) -> None:
    assert about.platform(categories, "A title") == platform
    assert about.genres(categories) == genres


@pytest.mark.parametrize(
    ("title", "platform"),
    [
        ("Halo 3 - Xbox 360", "Xbox 360"),
        ("Super Mario 3D World - Nintendo Wii U", "Wii U"),
        ("Halo 2 (Xbox)", "Xbox"),
        ("Crash Bandicoot - PlayStation", "PlayStation"),
        ("$20 PlayStation Network Card", None),
        ("Headset for PS4, Xbox One and PC", None),
        ("KVM switch", None),
        ("Anno 2070", None),
    ],
)
def test_a_title_names_the_platform_where_the_path_does_not(
    title: str, platform: str | None
) -> None:
    assert about.platform(["Video Games"], title) == platform
    assert about.platform(["Video Games", "Mac", "Games"], title) == "Mac"


def test_platforms_in_real_titles(amazon_2018: Path) -> None:
    """Where both name one, title and catalogue agree; the catalogue knows fewer platforms."""
    path = amazon_2018 / "video-games-2018" / "platform_by_title.tsv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    found = [(about.platform([], row["title"]), row["platform"]) for row in rows]
    both = [(ours, theirs) for ours, theirs in found if ours and theirs]
    agree = sum(ours == theirs for ours, theirs in both)
    assert len(rows) == 16_882
    assert len(both) > 9_000
    assert agree / len(both) > 0.97


def test_real_categories_of_albums(amazon_2018: Path) -> None:
    with (amazon_2018 / "cds-2018" / "CDs.item").open(encoding="utf-8") as file:
        next(file)
        for line in file:
            levels = line.rstrip("\n").split("\t")[2].split("; ")
            assert about.genres(["CDs & Vinyl", *levels]) == list(
                dict.fromkeys(filter(None, levels))
            )
