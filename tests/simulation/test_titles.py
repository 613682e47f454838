"""Titles in talk are no wishes."""

from __future__ import annotations

import pytest

from latentcrs_utils.simulation.titles import TitleFinder

TITLES = [
    "", "Star Wars", "The War", "Heat", "Twelve Monkeys (L'armée des singes)", "Crime & Comedy",
    "Mystery Science Theater 3000: The Movie", "Once Upon a Time in the West", "Thriller",
]  # fmt: skip


def bare(text: str) -> str:
    """The text with each blanked title as one mark."""
    blanked = TitleFinder(TITLES).blank(text)
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
    assert TitleFinder([]).blank("Star Wars") == "Star Wars"
