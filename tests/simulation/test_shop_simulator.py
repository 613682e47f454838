"""Simulated users of the Amazon catalogues: secret titles, true conditions, apart pools.

On the real titles of the copies of 2018 where they are at hand, and on a few invented ones.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
import pytest

from experiments.extraction import extraction_report, literally
from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.constraints.constraint import Constraint, Matcher
from latentcrs_utils.constraints.lexicon import lexicon_for
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.simulation.items import Catalogue, catalogue_items
from latentcrs_utils.simulation.phrasings import (
    POOLS,
    Domain,
    all_pools,
    catalogue_name,
    domain_of,
    has_other_words,
    phrase_book,
)
from latentcrs_utils.simulation.titles import shop_title, title_and_keywords, tokens
from latentcrs_utils.simulation.utterances import Utterances, simulate_utterances
from tests.simulation.shops import albums, games, invented
from tests.simulation.test_simulator import COMMON, all_true, of_kind

# what nobody says here; an album may well be the music of a movie or a game
FOREIGN = {
    "games": r"\b(?:film|movie|album|listen|watch)\w*",
    "albums": r"\b(?:films?|watch\w*|controllers?|consoles?)\b",
}
CONFIG = SimulatorConfig(n_cuts=2, n_reused_cuts=3)


@pytest.fixture(scope="module", params=["games", "albums", "invented games", "invented albums"])
def shop(request: pytest.FixtureRequest) -> tuple[Dataset, Utterances]:
    made = {
        "games": games, "albums": albums, "invented games": lambda: invented("amazon-video-games"),
        "invented albums": lambda: invented("amazon-cds"),
    }  # fmt: skip
    data = made[request.param]()
    if data is None:
        pytest.skip("no slices of Amazon's 2018 edition beside this checkout")
    utterances = simulate_utterances(data, seed=0, config=CONFIG)
    if not request.param.startswith("invented"):
        assert len(utterances) > 5_000
    return data, utterances


def rows(utterances: Utterances) -> list[dict[str, Any]]:
    return utterances.frame.to_dicts()


def test_no_title_leaks(shop: tuple[Dataset, Utterances]) -> None:
    data, utterances = shop
    domain = domain_of(data.name)
    said_of_any = COMMON | set(phrase_book(domain)["items"]["generic_title_words"].split())
    checked = 0
    for row in rows(utterances):
        title = tokens(title_and_keywords(data.title(row["target"]), domain)[0])
        said = tokens(row["text"])
        assert f" {' '.join(title)} " not in f" {' '.join(said)} ", row
        revealing = {word for word in title if len(word) >= 5} - said_of_any
        assert not revealing & set(said), (title, row["text"])
        checked += len(revealing)
    assert checked > 0.2 * len(utterances)


def test_conditions_are_true_by_the_catalogue_itself(shop: tuple[Dataset, Utterances]) -> None:
    data, utterances = shop
    domain, catalogue = domain_of(data.name), catalogue_items(data)
    kinds = set()
    for row in rows(utterances):
        item, conditions = data.item(row["target"]), row["conditions"]
        genres = {catalogue_name("genres", genre, domain) for genre in item["genres"]}
        assert set(of_kind(conditions, "genre")) <= genres
        assert not set(of_kind(conditions, "not genre")) & genres
        for decade in of_kind(conditions, "decade"):
            assert int(decade) <= item["year"] < int(decade) + 10
        for price in of_kind(conditions, "price"):
            assert item["price"] < int(price)
        for kind in ("platform", "creator"):
            for value in of_kind(conditions, kind):
                assert value == catalogue_name(f"{kind}s", item[kind], domain)
        for other in of_kind(conditions, "cheaper"):
            assert item["price"] < data.item(int(other))["price"]
        for other in of_kind(conditions, "same creator"):
            assert catalogue[int(other)].creator == catalogue[row["target"]].creator
        assert not of_kind(conditions, "era")
        assert all_true(conditions, catalogue[row["target"]], catalogue), row
        assert len(conditions) == len(set(conditions)) <= 1 + len(row["turns"])
        kinds |= {c.partition("=")[0] for c in conditions}
    wanted = {"genre", "not genre", "decade", "price", "creator", "like", "mood"}
    assert kinds >= wanted | ({"platform"} if domain == "games" else set())


def test_nobody_is_no_creator(shop: tuple[Dataset, Utterances]) -> None:
    data, utterances = shop
    assert "Various Artists" in set(data.items["creator"])
    assert not utterances.frame["text"].str.contains("Various Artists").any()


def test_the_words_are_those_of_the_domain(shop: tuple[Dataset, Utterances]) -> None:
    data, utterances = shop
    domain = domain_of(data.name)
    titles = [title_and_keywords(title, domain)[0] for title in data.titles[1:]]
    for row in rows(utterances):
        text = row["text"]
        for example in [*of_kind(row["conditions"], "like"), *of_kind(row["conditions"], "liked")]:
            text = text.replace(titles[int(example) - 1], "X")
        assert not re.search(FOREIGN[domain], text, re.I), text
        assert not re.search(r"[{}]|  |None(?! of)", text), text


def test_pools_stay_apart(shop: tuple[Dataset, Utterances]) -> None:
    data, utterances = shop
    overlap = utterances.verbatim_overlap()
    assert overlap.filter(pl.col("phrasing") != "train")["overlap"].max() == 0
    owner = {
        phrase.lower(): name
        for path, entry in all_pools(domain_of(data.name)).items()
        if path[0] == "genres" and path[2] == "film"
        for name in POOLS
        for phrase in entry[name]
    }
    longest_first = sorted(map(re.escape, owner), key=len, reverse=True)
    pattern = re.compile("|".join(longest_first))
    found = 0
    for row in rows(utterances.select(level="paraphrased")):
        for phrase in pattern.findall(row["text"].lower()):
            assert owner[phrase] == row["phrasing"]
            found += 1
    assert found > 0


def test_paraphrases_say_what_plain_words_say(shop: tuple[Dataset, Utterances]) -> None:
    """The same conditions, save those for which the book has no other words."""
    data, utterances = shop
    domain: Domain = domain_of(data.name)
    test = utterances.select(split="test", phrasing="test").frame
    plain, paraphrased = (
        test.filter(pl.col("level") == level).sort("user")["conditions"].to_list()
        for level in ("plain", "paraphrased")
    )
    for spoken, reworded in zip(plain, paraphrased, strict=True):
        known = [(Constraint.parse(written), written) for written in spoken]
        assert reworded == [w for c, w in known if has_other_words(c.slot, c.value, domain)]


def test_plain_is_the_lexicons_home_game_and_paraphrase_is_not(
    shop: tuple[Dataset, Utterances],
) -> None:
    data, utterances = shop
    rows = extraction_report(utterances.select(split="test"), literally(lexicon_for(data)))
    by_level = {(row["level"], row["phrasing"]): row for row in rows.to_dicts()}
    for phrasing in ("test", "train"):
        assert by_level["plain", phrasing]["recall"] >= 0.95
        assert by_level["plain", phrasing]["precision"] >= 0.95
        assert by_level["paraphrased", phrasing]["recall"] <= 0.02
        assert by_level["paraphrased", phrasing]["found"] <= 0.1
        assert by_level["vague", phrasing]["found"] <= 0.05


def test_reused_sentences_are_true_of_their_new_items(shop: tuple[Dataset, Utterances]) -> None:
    data, utterances = shop
    catalogue = catalogue_items(data)
    train = utterances.select(split="train").frame
    n_own = int(np.sum(1 + np.minimum(CONFIG.n_cuts, data.interactions.lengths - 4)))
    reused = train[n_own:]
    assert len(reused) > data.n_users
    assert set(reused["text"]) <= set(train[:n_own]["text"])
    for row in reused.to_dicts():
        target = catalogue[row["target"]]
        assert all_true(row["conditions"], target, catalogue)


def test_what_is_asked_of_all_items_at_once_is_true_of_each(
    shop: tuple[Dataset, Utterances],
) -> None:
    data, utterances = shop
    catalogue = Catalogue(data)
    said = set(utterances.frame["conditions"].explode().drop_nulls())
    kinds = {c.partition("=")[0]: c for c in sorted(said)}  # one of each kind
    matcher = Matcher(catalogue)
    for written in [*kinds.values(), "genre=Nonsense", "creator=Nobody At All"]:
        constraint = Constraint.parse(written)
        one_by_one = [f.item > 0 and constraint.satisfies(f, catalogue) for f in catalogue.items]
        assert matcher.satisfying(constraint).tolist() == one_by_one, written


def test_titles_as_people_say_them() -> None:
    said = {
        "Ratchet and Clank: Into the Nexus - PS3": "Ratchet and Clank: Into the Nexus",
        "Gears of War 4 - Standard Edition - Xbox One/Windows 10 [Digital Code]": "Gears of War 4",
        "Metal Gear Solid 2: Sons of Liberty": "Metal Gear Solid 2: Sons of Liberty",
        "6ft Gray AV Composite and S-Video Cable Compatible With Microsoft Xbox 360": (
            "6ft Gray AV Composite and S-Video Cable"
        ),
        "Star\xa0Wars:\xa0Republic\xa0Commando": "Star Wars: Republic Commando",
    }
    for title, spoken in said.items():
        assert title_and_keywords(title, "games")[0] == spoken
    assert shop_title("Gang's All Here, The") == "The Gang's All Here"
    assert shop_title("Live &amp; Off The Record [Explicit]") == "Live & Off The Record"
    assert shop_title("[Untitled]") == "[Untitled]"


def test_an_artist_of_the_same_name_is_not_said() -> None:
    """The creator of a self-titled album would give it away."""
    data = invented("amazon-cds", title="Soft Ladders", creator="Soft Ladders")
    utterances = simulate_utterances(data, seed=0, config=CONFIG)
    of_the_album = utterances.frame.filter(pl.col("target") == data.n_items)
    assert len(of_the_album) >= 9 * data.n_users
    assert not of_the_album["text"].str.contains("(?i)ladder").any()
    of_others = utterances.frame.filter(pl.col("target") != data.n_items)
    assert of_others["text"].str.contains("by Soft Ladders").any()


def test_where_nothing_can_be_said_nothing_is() -> None:
    """A title that holds every word for what is known of the item."""
    data = invented("amazon-cds", title="Pop", genres=["Pop"], bare=True)
    utterances = simulate_utterances(data, seed=0, config=SimulatorConfig(n_reused_cuts=0))
    plain = utterances.select(split="test", level="plain").frame
    assert not plain["text"].str.contains("(?i)\\bpop\\b").any()
    assert all(not of_kind(conditions, "genre") for conditions in plain["conditions"])
