"""Simulated users on the whole of MovieLens-100k: secret titles, true conditions, apart pools."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from experiments.extraction import extraction_report, literally
from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.simulation.items import Item, catalogue_items
from latentcrs_utils.simulation.phrasings import POOLS, all_pools, phrase_book, pool
from latentcrs_utils.simulation.titles import leaks_title, spoken_title
from latentcrs_utils.simulation.utterances import LEVELS, Utterances, simulate_utterances

# words of five letters or more that stand in titles but give nothing away
COMMON = {
    "about", "again", "anything", "could", "everyone", "everything", "first", "going", "great",
    "little", "movie", "never", "night", "nothing", "other", "people", "please", "right", "should",
    "something", "there", "thing", "things", "think", "where", "which", "would", "wrong", "years",
}  # fmt: skip


@pytest.fixture(scope="module")
def utterances(data: Dataset) -> Utterances:
    return simulate_utterances(data, seed=0)


def first_users(data: Dataset, n: int) -> Dataset:
    users = dataclasses.replace(data, interactions=data.interactions.select(range(n)))
    return dataclasses.replace(users, users=data.users.head(n))


def words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.findall(r"[a-z0-9]+", plain.replace("'", ""))


def rows(utterances: Utterances) -> list[dict]:
    return utterances.frame.to_dicts()


def all_true(conditions: list[str], target: Item, catalogue: Sequence[Item]) -> bool:
    return all(Constraint.parse(c).satisfies(target, catalogue) for c in conditions)


def of_kind(conditions: list[str], kind: str) -> list[str]:
    return [c.partition("=")[2] for c in conditions if c.partition("=")[0] == kind]


def test_counts(data: Dataset, utterances: Utterances) -> None:
    sizes = dict(utterances.frame.group_by("split").len().iter_rows())
    lengths = data.interactions.lengths
    own = int(np.sum(1 + np.minimum(5, lengths - 4)))
    assert own == 5_565
    assert own + 5 * 938 < sizes.pop("train") <= own + 10 * 938
    assert sizes == {
        "valid": 938,
        "test": 938 * 4 * 2,
        "test_turns": 938,
    }
    assert utterances.frame["instance"].to_list() == list(range(len(utterances)))
    # what the Embedder has to read
    assert 8_000 < utterances.frame["text"].n_unique() < 11_500


def test_the_table_is_the_one_that_everything_was_fitted_to(utterances: Utterances) -> None:
    """Fits are kept under the words they were trained on: other words mean fitting all anew."""
    content = json.dumps(utterances.frame.rows())
    assert hashlib.sha256(content.encode()).hexdigest() == (
        "838a78eacf3ced68ab6c46ec071b08425b01ffd8131efb42a4f0123e4be56eea"
    )


def test_targets_and_histories_are_those_of_the_split(
    data: Dataset, utterances: Utterances
) -> None:
    test = utterances.select(split="test", level="vague", phrasing="test")
    assert np.array_equal(test.targets, data.targets("test"))
    assert np.array_equal(test.histories(data).flat, data.histories("test").flat)
    valid = utterances.select(split="valid")
    assert np.array_equal(valid.targets, data.targets("valid"))
    train = utterances.select(split="train")
    last_training = data.interactions.lengths[train.frame["user"]] - 3
    assert (train.frame["cut"].to_numpy() <= last_training).all()
    for row in rows(train)[::50]:
        assert data.interactions[row["user"]][row["cut"]] == row["target"]


def test_levels_turns_and_pools(utterances: Utterances) -> None:
    # the sentences that were simulated for their own film; the rest reuses them
    train = utterances.select(split="train").frame.head(5_565)
    per_level = train.group_by("level").len()["len"]
    assert len(per_level) == len(LEVELS) and per_level.max() - per_level.min() <= 1
    n_turns = train["turns"].list.len()
    assert set(n_turns) == {1, 2, 3, 4, 5}
    assert 0.57 < (n_turns == 1).mean() < 0.63
    assert set(train["phrasing"]) == {"train"}
    assert set(utterances.select(split="valid").frame["phrasing"]) == {"valid"}
    assert set(utterances.select(split="test").frame["turns"].list.len()) == {1}
    turns = utterances.select(split="test_turns").frame
    assert sorted(turns["turns"].list.len().value_counts()["count"]) == [187, 187, 188, 188, 188]
    assert set(turns["phrasing"]) == {"test"}


def test_the_text_is_all_messages_so_far(utterances: Utterances) -> None:
    joined = utterances.frame["turns"].list.join(" ")
    assert (joined == utterances.frame["text"]).all()
    assert utterances.frame["turns"].list.eval(pl.element().str.len_chars() > 5).list.all().all()
    assert not utterances.frame["text"].str.contains(r"[{}]|  ").any()


def test_no_title_leaks(data: Dataset, utterances: Utterances) -> None:
    checked = 0
    for row in rows(utterances):
        title, said = data.title(row["target"]), words(row["text"])
        assert f" {' '.join(words(spoken_title(title)))} " not in f" {' '.join(said)} "
        revealing = {word for word in words(title) if len(word) >= 5} - COMMON
        assert not revealing & set(said), (title, row["text"])
        checked += len(revealing)
    assert checked > 10_000


def test_the_leak_check_finds_leaks() -> None:
    assert leaks_title("I loved Aliens", "Alien") and leaks_title("an alien film", "Aliens")
    assert leaks_title("space, the Final Frontier", "Star Trek V: The Final Frontier")
    assert leaks_title("seven sins", "Seven (Se7en)") and leaks_title("like Se7en", "Seven (Se7en)")
    assert leaks_title("What happened was odd", "What Happened Was...")
    assert leaks_title("I would like it hot please, some like it hot", "Some Like It Hot")
    assert not leaks_title("Some hot film, please", "Some Like It Hot")
    assert not leaks_title("the one for me", "The Fugitive")
    assert spoken_title("Seven (Se7en)") == "Seven"


def test_conditions_are_true_of_the_target(data: Dataset, utterances: Utterances) -> None:
    """Genres, refusals and times by the catalogue itself; the rest by ``holds``."""
    catalogue, said = catalogue_items(data), 0
    for row in rows(utterances):
        item, conditions = data.item(row["target"]), row["conditions"]
        assert set(of_kind(conditions, "genre")) <= set(item["genres"])
        assert not set(of_kind(conditions, "not genre")) & set(item["genres"])
        for decade in of_kind(conditions, "decade"):
            assert int(decade) <= item["year"] < int(decade) + 10
        for era in of_kind(conditions, "era"):
            assert int(era[:4]) <= item["year"] <= int(era[5:])
        assert all_true(conditions, catalogue[row["target"]], catalogue), row
        assert len(conditions) == len(set(conditions))
        said += len(conditions)
    assert said > len(utterances)


def test_relations_are_true(data: Dataset, utterances: Utterances) -> None:
    seen = set()
    for row in rows(utterances):
        item = data.item(row["target"])
        for condition in row["conditions"]:
            kind, _, value = condition.partition("=")
            if kind not in ("older", "newer", "lighter", "darker", "similar"):
                continue
            other = data.item(int(value))
            seen.add(kind)
            if kind == "older":
                assert item["year"] <= other["year"] - 5
            elif kind == "newer":
                assert item["year"] >= other["year"] + 5
            elif kind == "lighter":
                assert set(item["genres"]) & {"Comedy", "Children's", "Animation", "Musical"}
                assert not set(item["genres"]) & {"Horror", "Thriller", "Crime", "War"}
            elif kind == "darker":
                assert set(item["genres"]) & {"Horror", "Thriller", "Crime", "War", "Film-Noir"}
                assert not set(other["genres"]) & {"Horror", "Thriller", "Crime", "War"}
            else:
                assert set(item["genres"]) == set(other["genres"])
    assert seen == {"older", "newer", "lighter", "darker", "similar"}


def test_at_most_two_new_conditions_a_turn(utterances: Utterances) -> None:
    new = utterances.frame["conditions"].list.len()
    n_turns = utterances.frame["turns"].list.len()
    assert (new <= 2 + (n_turns - 1)).all()  # two at first, one in any later turn
    assert new.max() > 2


def test_examples_are_films_of_the_history(data: Dataset, utterances: Utterances) -> None:
    by_example = utterances.select(level="by example")
    named = 0
    for row in rows(by_example):
        history = set(data.interactions[row["user"]][: row["cut"]].tolist())
        for kind in ("like", "liked"):
            for item in map(int, of_kind(row["conditions"], kind)):
                assert item in history and item != row["target"]
                assert spoken_title(data.title(item)) in row["text"]
                named += 1
    assert named > 0.98 * len(by_example)


def test_the_example_is_the_likest_that_may_be_named(data: Dataset, utterances: Utterances) -> None:
    def attributes(item: int) -> set[str]:
        film = data.item(item)
        found = set(film["genres"])
        if film["year"]:
            found.add(str(film["year"] // 10))
            found |= {e for e in ("1990-1993", "1994-1995", "1996-1998")
                      if int(e[:4]) <= film["year"] <= int(e[5:])}  # fmt: skip
        return found

    for row in rows(utterances.select(split="test", level="by example", phrasing="test"))[::5]:
        liked = [*of_kind(row["conditions"], "like"), *of_kind(row["conditions"], "liked")]
        if not liked:
            continue
        target = attributes(row["target"])
        common = {
            int(i): len(attributes(int(i)) & target)
            for i in data.interactions[row["user"]][: row["cut"]]
            if not leaks_title(data.title(int(i)), data.title(row["target"]))
        }
        assert common[int(liked[0])] == max(common.values())


def test_seen_and_unseen_say_the_same(utterances: Utterances) -> None:
    """One conversation content per (user, level); only the words differ."""
    test = utterances.select(split="test")
    seen, unseen = (test.select(phrasing=name).frame for name in ("train", "test"))
    both = seen.join(unseen, on=["user", "level"], suffix="_unseen", validate="1:1")
    assert len(both) == 938 * 4
    assert (both["conditions"] == both["conditions_unseen"]).all()
    assert (both["text"] == both["text_unseen"]).sum() == 0
    plain, paraphrased = (unseen.filter(pl.col("level") == x) for x in ("plain", "paraphrased"))
    assert (plain["conditions"] == paraphrased["conditions"]).all()


def test_unseen_texts_stand_nowhere_in_training(utterances: Utterances) -> None:
    overlap = utterances.verbatim_overlap()
    unseen = overlap.filter(pl.col("phrasing") != "train")
    assert len(unseen) == 4 * 3 and unseen["overlap"].max() == 0
    seen = overlap.filter((pl.col("phrasing") == "train") & (pl.col("level") == "vague"))
    assert seen["overlap"].item() > 0.9


def test_texts_use_the_phrases_of_their_pool_only(utterances: Utterances) -> None:
    """A genre phrase in a text belongs to the pool that the row names."""
    owner = {
        phrase.lower(): name
        for path, entry in all_pools().items()
        if path[0] == "genres" and path[2] == "film"
        for name in POOLS
        for phrase in entry[name]
    }
    pattern = re.compile("|".join(sorted(map(re.escape, owner), key=len, reverse=True)))
    paraphrased = utterances.select(level="paraphrased")
    found = 0
    for row in rows(paraphrased):
        for phrase in pattern.findall(row["text"].lower()):
            assert owner[phrase] == row["phrasing"]
            found += 1
    assert found > 0.9 * len(paraphrased)


def test_the_conditions_are_said(utterances: Utterances) -> None:
    """Each genre and time of a paraphrased request stands in the text in words of its own."""
    for row in rows(utterances.select(split="test", level="paraphrased")):
        text, name = row["text"].lower(), row["phrasing"]
        for genre in of_kind(row["conditions"], "genre"):
            said = [*pool(name, "genres", genre, "film"), *pool(name, "genres", genre, "touch")]
            assert any(phrase.lower() in text for phrase in said), (genre, text)
        for genre in of_kind(row["conditions"], "not genre"):
            assert any(phrase.lower() in text for phrase in pool(name, "genres", genre, "touch"))
        for kind in ("decade", "era"):
            for value in of_kind(row["conditions"], kind):
                assert any(phrase.lower() in text for phrase in pool(name, "eras", value))


def test_equal_seeds_give_equal_texts(data: Dataset) -> None:
    small = first_users(data, 30)
    once, again = simulate_utterances(small, seed=1), simulate_utterances(small, seed=1)
    assert once.frame.equals(again.frame)
    other = simulate_utterances(small, seed=2)
    same = once.select(split="test").frame["text"] == other.select(split="test").frame["text"]
    assert same.mean() < 0.2


def test_what_cannot_be_said_without_the_title_is_not_said() -> None:
    """The training's plain names of the genre War all hold the word: a secret of "Star Wars"."""
    genres = [sorted(set(phrase_book()["items"]["refused"]) - {"War"})] * 3 + [["Comedy"]] * 3
    data = bare_dataset()
    items = data.items.with_columns(
        pl.Series("title", ["Star Wars"] * 3 + ["Delta", "Ember", "Fjord"]),
        pl.Series("genres", genres[3:] + genres[:3]),
        pl.Series("year", [1977] * 6, dtype=pl.Int32),
    )
    wars = dataclasses.replace(
        data, items=items, interactions=Sequences.from_lists([[4, 5, 6, 1, 2, 3]] * 40),
        users=pl.DataFrame({"user": range(40), "raw_user": [str(u) for u in range(40)]}),
    )  # fmt: skip
    frame = simulate_utterances(wars, seed=0).select(split="test").frame
    assert set(frame["target"]) == {3}
    attributes = frame.filter(pl.col("level").is_in(["plain", "paraphrased"]))
    said = set(attributes["conditions"].explode().drop_nulls())
    assert "not genre=War" not in said and any(c.startswith("not genre=") for c in said)
    # every way of saying it has the same conditions
    per_user = attributes.group_by("user").agg(pl.col("conditions").n_unique())
    assert per_user["conditions"].max() == 1


def test_a_text_does_not_depend_on_the_other_users(data: Dataset, utterances: Utterances) -> None:
    alone = simulate_utterances(first_users(data, 5), seed=0).select(split="test").frame
    among = utterances.select(split="test").frame.filter(pl.col("user") < 5)
    assert alone["text"].to_list() == among["text"].to_list()


def bare_dataset() -> Dataset:
    """One user whose films have no genre and no year, or a genre that the phrase book lacks."""
    items = pl.DataFrame(
        {
            "item": range(1, 7),
            "raw_item": [str(i) for i in range(1, 7)],
            "title": ["Abel", "Bravo", "Cynic", "Delta", "Ember", "Fjord"],
            "year": [1999, 2104, None, 1985, None, 2104],
            "genres": [["IMAX"], ["Drama"], ["Comedy"], ["IMAX"], [], ["IMAX", "Drama"]],
        },
        schema_overrides={"item": pl.Int32, "year": pl.Int32},
    )
    users = pl.DataFrame({"user": [0], "raw_user": ["u"]}, schema_overrides={"user": pl.Int32})
    return Dataset("bare", items, users, Sequences.from_lists([[1, 2, 3, 4, 5, 6]]), {}, "none")


@pytest.mark.parametrize("seed", range(5))
def test_films_with_unknown_genres_or_years_do_no_harm(seed: int) -> None:
    data = bare_dataset()
    utterances = simulate_utterances(data, seed=seed)
    conditions = set(utterances.frame["conditions"].explode().drop_nulls())
    assert not {c for c in conditions if c.startswith("decade=2")}
    # a genre without phrases of its own is called by its name
    named = utterances.frame.filter(pl.col("conditions").list.contains("genre=IMAX"))
    assert named["text"].str.contains("IMAX", literal=True).all()
    assert len(named) > 0
    # the target of "valid" has neither genre nor year: nothing can be said about it
    about_nothing = utterances.select(split="valid").frame["conditions"].explode().drop_nulls()
    assert set(about_nothing.str.split("=").list.first()) <= {"liked"}
    assert min(map(len, utterances.texts)) > 5


def test_unknown_split_level_phrasing_are_named(utterances: Utterances) -> None:
    with pytest.raises(DataError, match=r"There is no level 'vauge'. Known: by example"):
        utterances.select(level="vauge")
    with pytest.raises(DataError, match="There is no split"):
        utterances.select(split="tset")


def test_shares_are_checked() -> None:
    with pytest.raises(ConfigError, match="one_turn_share"):
        SimulatorConfig(one_turn_share=1.5)
    with pytest.raises(ConfigError, match="exceeds 1"):
        SimulatorConfig(two_examples_share=0.8, relation_share=0.8)


def test_the_share_of_single_turns_is_obeyed(data: Dataset) -> None:
    config = SimulatorConfig(one_turn_share=1.0, n_cuts=1, n_reused_cuts=0)
    train = simulate_utterances(first_users(data, 30), config=config).select(split="train")
    assert set(train.frame["turns"].list.len()) == {1}
    assert len(train) == 60


def test_plain_is_the_lexicons_home_game_and_paraphrase_is_not(utterances: Utterances) -> None:
    rows = extraction_report(utterances.select(split="test"), literally()).to_dicts()
    report = {(row["level"], row["phrasing"]): row for row in rows}
    for phrasing in ("test", "train"):
        assert report["plain", phrasing]["recall"] >= 0.95
        assert report["plain", phrasing]["precision"] >= 0.95
        assert report["paraphrased", phrasing]["recall"] <= 0.02
        assert report["vague", phrasing]["found"] <= 0.05
        assert report["by example", phrasing]["found"] <= 0.05


def test_reused_sentences_are_true_of_their_new_films_and_cost_no_new_text(data):
    config = SimulatorConfig(n_cuts=2, n_reused_cuts=3)
    with_reuse = simulate_utterances(data, config=config).frame.filter(split="train")
    without = simulate_utterances(data, config=dataclasses.replace(config, n_reused_cuts=0)).frame
    without = without.filter(split="train")
    assert with_reuse[: len(without)].drop("instance").equals(without.drop("instance"))
    reused = with_reuse[len(without) :]
    assert len(reused) > data.n_users
    assert set(reused["text"]) <= set(without["text"])
    pairs = with_reuse.select("user", "cut").rows()
    assert len(set(pairs)) == len(pairs)
    catalogue = catalogue_items(data)
    for user, cut, target, conditions in reused.select(
        "user", "cut", "target", "conditions"
    ).iter_rows():
        assert data.interactions[user][cut] == target
        assert cut < data.interactions.lengths[user] - 2
        assert all_true(conditions, catalogue[target], catalogue)
