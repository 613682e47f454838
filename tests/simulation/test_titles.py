"""Titles: as people say them, what gives one away, and titles in talk, which are no wishes."""

import re

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


@pytest.mark.parametrize("marked", [
    "Something like [Star Wars].", "something like [star wars], please", "I loved [star wars]",
    "a star wars with fewer stars", "a war film, not [The War]", "I'd like a war film",
    "I like war", "Thriller, please", "I saw [Thriller] twice", "Good. Thriller!",
    "twelve monkeys? I enjoyed [Twelve Monkeys]!", "[Crime and Comedy] or [Crime & Comedy]",
    "[Mystery Science Theater 3000] was fun", "[once upon a time in the west]", "no titles here",
])  # fmt: skip
def test_titles_are_blanked_where_they_stand_for_an_item(marked: str) -> None:
    text = marked.replace("[", "").replace("]", "")
    blanked = re.sub(r"\[.*?\]", lambda title: "_" * (len(title[0]) - 2), marked)
    assert blank_titles(text, title_forms(TITLES)) == blanked
    assert blank_titles(text, {}) == text


@pytest.mark.parametrize(
    ("text", "title", "leaks"),
    [
        ("I loved Aliens", "Alien", True), ("an alien film", "Aliens", True),
        ("space, the Final Frontier", "Star Trek V: The Final Frontier", True),
        ("seven sins", "Seven (Se7en)", True), ("like Se7en", "Seven (Se7en)", True),
        ("What happened was odd", "What Happened Was...", True),
        ("I would like it hot please, some like it hot", "Some Like It Hot", True),
        ("Some hot film, please", "Some Like It Hot", False),
        ("the one for me", "The Fugitive", False),
    ],
)  # fmt: skip
def test_what_gives_a_title_away(text: str, title: str, leaks: bool) -> None:
    assert leaks_title(text, title) == leaks
    assert spoken_title("Seven (Se7en)") == "Seven"


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
    # words for machines and packaging give no game away
    packed = "Super Mario Kart for Nintendo 64 Bundle"
    assert title_and_keywords(packed, "games")[1] == "mario kart"
