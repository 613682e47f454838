"""Titles: as people say them, what gives one away, and titles in talk, which are no wishes."""

from __future__ import annotations

import pytest

from latentcrs_utils.simulation.phrase_book import Domain
from latentcrs_utils.simulation.titles import (
    blank_titles,
    leaks_title,
    spoken_title,
    title_and_keywords,
    title_forms,
)

TITLES = [
    "", "Star Wars", "The War", "Heat", "Twelve Monkeys (L'armée des singes)", "Crime & Comedy",
    "Mystery Science Theater 3000: The Movie", "Once Upon a Time in the West", "Thriller",
]  # fmt: skip


def bare(text: str) -> str:
    """The text with each blanked title as one mark."""
    blanked = blank_titles(text, title_forms(TITLES))
    assert len(blanked) == len(text)
    return " ".join("#" if "__" in word else word for word in blanked.split())


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Something like Star Wars.", "Something like #"),
        ("something like star wars, please", "something like # please"),
        ("I loved star wars", "I loved #"),
        ("a star wars with fewer stars", "a star wars with fewer stars"),
        ("a war film, not The War", "a war film, not #"),
        ("I'd like a war film", "I'd like a war film"),
        ("I like war", "I like war"),
        ("Thriller, please", "Thriller, please"),
        ("I saw Thriller twice", "I saw # twice"),
        ("Good. Thriller!", "Good. Thriller!"),
        ("twelve monkeys? I enjoyed Twelve Monkeys!", "twelve monkeys? I enjoyed #"),
        ("Crime and Comedy or Crime & Comedy", "# or #"),
        ("Mystery Science Theater 3000 was fun", "# was fun"),
        ("once upon a time in the west", "#"),
        ("no titles here", "no titles here"),
    ],
)
def test_titles_are_blanked_where_they_stand_for_an_item(text: str, left: str) -> None:
    assert bare(text) == left


def test_a_catalogue_without_titles_blanks_nothing() -> None:
    assert blank_titles("Star Wars", {}) == "Star Wars"


@pytest.mark.parametrize(
    ("text", "title", "leaks"),
    [
        ("I loved Aliens", "Alien", True),
        ("an alien film", "Aliens", True),
        ("space, the Final Frontier", "Star Trek V: The Final Frontier", True),
        ("seven sins", "Seven (Se7en)", True),
        ("like Se7en", "Seven (Se7en)", True),
        ("What happened was odd", "What Happened Was...", True),
        ("I would like it hot please, some like it hot", "Some Like It Hot", True),
        ("Some hot film, please", "Some Like It Hot", False),
        ("the one for me", "The Fugitive", False),
    ],
)
def test_what_gives_a_title_away(text: str, title: str, leaks: bool) -> None:
    assert leaks_title(text, title) == leaks


CABLE = "6ft Gray AV Composite and S-Video Cable"


@pytest.mark.parametrize(
    ("domain", "title", "said"),
    [
        ("films", "Seven (Se7en)", "Seven (Se7en)"),
        ("games", "Ratchet and Clank: Into the Nexus - PS3", "Ratchet and Clank: Into the Nexus"),
        ("games", "Gears of War 4 - Standard - Xbox One [Digital Code]", "Gears of War 4"),
        ("games", "Metal Gear Solid 2: Sons of Liberty", "Metal Gear Solid 2: Sons of Liberty"),
        ("games", f"{CABLE} Compatible With Microsoft Xbox 360", CABLE),
        ("games", "Star\xa0Wars:\xa0Republic\xa0Commando", "Star Wars: Republic Commando"),
        ("albums", "Gang's All Here, The", "The Gang's All Here"),
        ("albums", "Live &amp; Off The Record [Explicit]", "Live & Off The Record"),
        ("albums", "[Untitled]", "[Untitled]"),
    ],
)
def test_titles_as_people_say_them(domain: Domain, title: str, said: str) -> None:
    assert title_and_keywords(title, domain)[0] == said
    assert spoken_title("Seven (Se7en)") == "Seven"


def test_words_for_machines_and_packaging_give_no_game_away() -> None:
    title = "Super Mario Kart for Nintendo 64 Bundle"
    assert title_and_keywords(title, "games")[1] == "mario kart"
