"""What simulated users say: secret titles, true constraints, apart pools, on every kind of item."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from experiments.extraction import extraction_report, literally
from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.constraints.lexicon import lexicon_for
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.simulation.agenda import LEVELS
from latentcrs_utils.simulation.items import Item
from latentcrs_utils.simulation.phrase_book import (
    POOLS,
    catalogue_name,
    has_other_words,
    phrase_book,
    pool,
)
from latentcrs_utils.simulation.realization import sentence
from latentcrs_utils.simulation.titles import leaks_title, spoken_title
from latentcrs_utils.simulation.utterances import Utterances, simulate_utterances
from tests.simulation.worlds import (
    COMMON,
    SHOP_CONFIG,
    World,
    all_pools,
    bare_dataset,
    first_users,
    invented,
    words,
    world,
)

# what nobody says here; an album may well be the music of a movie or a game
FOREIGN = {
    "films": r"\b(?:album|controller|console)s?\b",
    "games": r"\b(?:film|movie|album|listen|watch)\w*",
    "albums": r"\b(?:films?|watch\w*|controllers?|consoles?)\b",
}
WORLDS = ["films", "games", "albums", "invented games", "invented albums"]


@pytest.fixture(scope="module", params=WORLDS)
def anywhere(request: pytest.FixtureRequest) -> World:
    return world(request.param)


@pytest.fixture(scope="module")
def utterances() -> Utterances:
    return world("films").utterances


def rows(utterances: Utterances, step: int = 1) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries, with what they say parsed, under "said"."""
    for row in utterances.frame[::step].iter_rows(named=True):
        yield row | {"said": [Constraint.parse(c) for c in row["conditions"]]}


def values(row: dict[str, Any], *slots: str, negated: bool = False) -> list[str]:
    return [c.value for c in row["said"] if c.slot in slots and c.negated == negated]


def test_sizes_levels_turns_and_pools(data: Dataset, utterances: Utterances) -> None:
    frame = utterances.frame
    sizes = dict(frame.group_by("split").len().iter_rows())
    own = int(np.sum(1 + np.minimum(3, data.interactions.lengths - 4)))
    assert own == 3_739 and own + 5 * 938 < sizes.pop("train") <= own + 10 * 938
    assert sizes == {"valid": 938, "test": 938 * 4 * 2, "test_turns": 938}
    assert frame["instance"].to_list() == list(range(len(utterances)))
    # what the Embedder has to read
    assert 8_000 < frame["text"].n_unique() < 11_600
    # the sentences that were simulated for their own film; the rest reuses them
    train = utterances.select(split="train").frame.head(own)
    per_level = train.group_by("level").len()["len"]
    assert len(per_level) == len(LEVELS) and per_level.max() - per_level.min() <= 1
    n_turns = train["turns"].list.len()
    assert set(n_turns) == {1, 2, 3, 4, 5} and 0.57 < (n_turns == 1).mean() < 0.63
    for split, phrasing in (("train", "train"), ("valid", "valid"), ("test_turns", "test")):
        assert set(utterances.select(split=split).frame["phrasing"]) == {phrasing}
    assert set(utterances.select(split="test").frame["turns"].list.len()) == {1}
    turns = utterances.select(split="test_turns").frame
    assert sorted(turns["turns"].list.len().value_counts()["count"]) == [187, 187, 188, 188, 188]


def test_targets_and_histories_are_of_the_split(data: Dataset, utterances: Utterances) -> None:
    for split, which in (("test", {"level": "vague", "phrasing": "test"}), ("valid", {})):
        said = utterances.select(split=split, **which)
        assert np.array_equal(said.targets, data.targets(split))
        assert np.array_equal(said.histories(data).flat, data.histories(split).flat)
    train = utterances.select(split="train")
    last_training = data.interactions.lengths[train.frame["user"]] - 3
    assert (train.frame["cut"].to_numpy() <= last_training).all()
    for row in rows(train, 50):
        assert data.interactions[row["user"]][row["cut"]] == row["target"]


def test_the_text_is_all_messages_in_words_of_the_domain(anywhere: World) -> None:
    frame, nobody = anywhere.utterances.frame, "Various Artists"
    assert (frame["turns"].list.join(" ") == frame["text"]).all()
    assert frame["turns"].list.eval(pl.element().str.len_chars() > 5).list.all().all()
    assert not frame["text"].str.contains(r"[{}]|  |" + nobody).any()
    assert anywhere.domain == "films" or nobody in set(anywhere.data.items["creator"])
    for row in rows(anywhere.utterances, 3):
        text = row["text"]
        for item in map(int, values(row, "like", "liked")):
            text = text.replace(spoken_title(anywhere.catalogue[item].title), "X")
        assert not re.search(FOREIGN[anywhere.domain], text, re.I), text
        assert not re.search(r"None(?! of)", text), text


def test_no_title_leaks(anywhere: World) -> None:
    generic = phrase_book(anywhere.domain)["items"].get("generic_title_words", "").split()
    checked = 0
    for row in rows(anywhere.utterances):
        title, said = anywhere.catalogue[row["target"]].title, words(row["text"])
        assert f" {' '.join(words(spoken_title(title)))} " not in f" {' '.join(said)} "
        revealing = {word for word in words(title) if len(word) >= 5} - COMMON - set(generic)
        assert not revealing & set(said), (title, row["text"])
        checked += len(revealing)
    assert checked > 0.2 * len(anywhere.utterances)


def test_what_is_said_is_true_by_the_catalogue_itself(anywhere: World) -> None:
    """Facts by the columns of the data set; the rest by ``satisfies``."""
    data, items, domain = anywhere.data, anywhere.catalogue.items, anywhere.domain
    slots = set()
    for row in rows(anywhere.utterances):
        item = data.item(row["target"])
        genres = {catalogue_name("genres", genre, domain) for genre in item["genres"]}
        assert set(values(row, "genre")) <= genres
        assert not set(values(row, "genre", negated=True)) & genres
        for constraint in row["said"]:
            if constraint.attribute == "years":
                assert constraint.years[0] <= item["year"] <= constraint.years[1]
            elif constraint.slot == "price":
                assert item["price"] < int(constraint.value)
            elif constraint.slot in ("platform", "creator"):
                name = item[constraint.slot]
                assert constraint.value == catalogue_name(f"{constraint.slot}s", name, domain)
            assert constraint.satisfies(items[row["target"]], items), row
        assert len(row["said"]) == len(set(row["said"]))
        # two at first, one in any later turn
        assert len(row["said"]) <= 1 + len(row["turns"])
        slots |= {("not " if c.negated else "") + c.slot for c in row["said"]}
    wanted = {"genre", "not genre", "decade", "like", "mood"}
    of_domain = {"films": {"era"}, "games": {"price", "creator", "platform"},
                 "albums": {"price", "creator"}}  # fmt: skip
    assert slots >= wanted | of_domain[domain] and ("era" in slots) == (domain == "films")


def test_relations_are_true(anywhere: World) -> None:
    dark = {"Horror", "Thriller", "Crime", "War", "Film-Noir"}
    bright = {"Comedy", "Children's", "Animation", "Musical"}

    def lighter(one: Item, other: Item) -> bool:
        either = one.genres & bright and other.genres & dark
        return bool(either) and not one.genres & dark and not other.genres & bright

    true = {
        "older": lambda one, other: one.year <= other.year - 5,
        "newer": lambda one, other: one.year >= other.year + 5,
        "lighter": lighter, "darker": lambda one, other: lighter(other, one),
        "similar": lambda one, other: one.genres == other.genres,
        "cheaper": lambda one, other: one.price < other.price,
        "same creator": lambda one, other: one.creator == other.creator,
    }  # fmt: skip
    catalogue, seen = anywhere.catalogue, set()
    for row in rows(anywhere.utterances):
        for constraint in (c for c in row["said"] if c.slot in true):
            assert true[constraint.slot](catalogue[row["target"]], catalogue[constraint.item]), row
            seen.add(constraint.slot)
    films = {"older", "newer", "lighter", "darker", "similar"}
    assert seen == films if anywhere.domain == "films" else "cheaper" in seen


def test_examples_are_the_likest_of_the_history_that_may_be_named(anywhere: World) -> None:
    data, catalogue, named = anywhere.data, anywhere.catalogue, 0
    by_example = anywhere.utterances.select(level="by example")
    for row in rows(by_example):
        target, liked = catalogue[row["target"]], [*map(int, values(row, "like", "liked"))]
        history = data.interactions[row["user"]][: row["cut"]].tolist()
        for item in liked:
            assert item in history and item != row["target"]
            assert spoken_title(catalogue[item].title) in row["text"]
        named += len(liked)
        if anywhere.domain == "films" and liked and row["split"] == "test":
            common = {item: len(catalogue[item].attributes & target.attributes) for item in history
                      if not leaks_title(data.title(item), target.title)}  # fmt: skip
            assert common[liked[0]] == max(common.values())
    assert named > 0.9 * len(by_example)


def test_seen_and_unseen_say_the_same(utterances: Utterances) -> None:
    """One content per (user, level); only the words differ."""
    test = utterances.select(split="test")
    seen, unseen = (test.select(phrasing=name).frame for name in ("train", "test"))
    both = seen.join(unseen, on=["user", "level"], suffix="_unseen", validate="1:1")
    assert len(both) == 938 * 4
    assert (both["conditions"] == both["conditions_unseen"]).all()
    assert (both["text"] == both["text_unseen"]).sum() == 0


def test_paraphrases_say_what_plain_words_say(anywhere: World) -> None:
    """The same constraints, save those for which the book has no other words."""
    test = anywhere.utterances.select(split="test", phrasing="test")
    plain, paraphrased = (rows(test.select(level=level)) for level in ("plain", "paraphrased"))
    for spoken, reworded in zip(plain, paraphrased, strict=True):
        wanted = [c for c in spoken["said"] if has_other_words(c.slot, c.value, anywhere.domain)]
        assert spoken["user"] == reworded["user"] and reworded["said"] == wanted


def test_unseen_texts_are_nowhere_in_training(anywhere: World) -> None:
    overlap = anywhere.utterances.verbatim_overlap()
    unseen = overlap.filter(pl.col("phrasing") != "train")
    assert len(unseen) == 4 * 3 and unseen["overlap"].max() == 0
    assert overlap.filter(phrasing="train", level="vague")["overlap"].item() > 0


def test_a_vague_text_is_a_mood_and_a_question_of_one_pool(anywhere: World) -> None:
    """Seen phrasings are seen phrases, also where no training text is the very same."""
    said = anywhere.utterances.frame.filter(pl.col("turns").list.len() == 1, level="vague")
    for name in POOLS:
        moods = [m for e in all_pools(anywhere.domain, "moods").values() for m in e[name]]
        asks = pool(name, "frames", "vague", "ask", domain=anywhere.domain)
        made = {sentence(f"{mood} {ask}") for mood in moods for ask in asks}
        assert (texts := set(said.filter(phrasing=name)["text"])) and texts <= made


def test_constraints_are_said_in_the_words_of_their_pool_only(anywhere: World) -> None:
    """Each genre and time of a paraphrased request is in the text, in words of the row's pool."""
    genres = all_pools(anywhere.domain, "genres")
    of_genres = [entry for path, entry in genres.items() if path[2] == "film"]
    owner = {p.lower(): name for entry in of_genres for name in POOLS for p in entry[name]}
    pattern = re.compile("|".join(sorted(map(re.escape, owner), key=len, reverse=True)))
    paraphrased, found = anywhere.utterances.select(level="paraphrased"), 0
    for row in rows(paraphrased):
        text, name = row["text"].lower(), row["phrasing"]
        for phrase in pattern.findall(text):
            assert owner[phrase] == name
            found += 1
        for c in (c for c in row["said"] if c.slot == "genre" or c.attribute == "years"):
            forms = [("genres", c.value, "touch"), ("genres", c.value, "film")][: 2 - c.negated]
            paths = forms if c.slot == "genre" else [("eras", c.value)]
            said = [p for path in paths for p in pool(name, *path, domain=anywhere.domain)]
            assert any(phrase.lower() in text for phrase in said), (c, text)
    assert found > (0.9 * len(paraphrased) if anywhere.domain == "films" else 0)


def test_plain_is_the_lexicons_home_game_and_paraphrase_is_not(anywhere: World) -> None:
    read = literally(lexicon_for(anywhere.data))
    table = extraction_report(anywhere.utterances.select(split="test"), read).to_dicts()
    report = {(row["level"], row["phrasing"]): row for row in table}
    for phrasing in ("test", "train"):
        plain = report["plain", phrasing]
        assert min(plain["recall"], plain["precision"]) >= 0.95
        assert report["paraphrased", phrasing]["recall"] <= 0.02
        assert report["vague", phrasing]["found"] <= 0.05
        assert report["by example", phrasing]["found"] <= 0.05 or anywhere.domain != "films"


def test_reused_sentences_are_true_and_cost_no_new_text(anywhere: World) -> None:
    data, items = anywhere.data, anywhere.catalogue.items
    config = SimulatorConfig() if anywhere.domain == "films" else SHOP_CONFIG
    train = anywhere.utterances.select(split="train")
    n_own = int(np.sum(1 + np.minimum(config.n_cuts, data.interactions.lengths - 4)))
    own, reused = train.frame[:n_own], Utterances(train.frame[n_own:])
    assert len(reused) > data.n_users and set(reused.texts) <= set(own["text"])
    pairs = train.frame.select("user", "cut").rows()
    assert len(set(pairs)) == len(pairs)
    for row in rows(reused):
        assert data.interactions[row["user"]][row["cut"]] == row["target"]
        assert row["cut"] < data.interactions.lengths[row["user"]] - 2
        assert all(c.satisfies(items[row["target"]], items) for c in row["said"])
        # what is said of one's own items stays with its speaker
        assert not values(row, "like", "liked")


def test_reuse_adds_rows_and_changes_none(data: Dataset) -> None:
    small = first_users(data, 60)
    with_reuse, without = (
        simulate_utterances(small, config=replace(SHOP_CONFIG, n_reused_cuts=n))
        .select(split="train").frame.drop("instance") for n in (3, 0)
    )  # fmt: skip
    assert len(with_reuse) > len(without) and with_reuse[: len(without)].equals(without)


def test_equal_seeds_give_equal_texts_whoever_speaks(data: Dataset, utterances: Utterances) -> None:
    small = first_users(data, 30)
    once, again, other = (simulate_utterances(small, seed=seed) for seed in (1, 1, 2))
    assert once.frame.equals(again.frame)
    texts = [said.select(split="test").frame["text"] for said in (once, other)]
    assert (texts[0] == texts[1]).mean() < 0.2
    alone = simulate_utterances(first_users(data, 5), seed=0).select(split="test")
    among = utterances.select(split="test").frame.filter(pl.col("user") < 5)
    assert alone.texts == among["text"].to_list()


def test_what_cannot_be_said_without_the_title_is_not_said() -> None:
    """The training's plain names of the genre War all hold the word: a secret of "Star Wars"."""
    refused = sorted(set(phrase_book()["items"]["refused"]) - {"War"})
    data = bare_dataset(
        title=["Star Wars"] * 3 + ["Delta", "Ember", "Fjord"],
        genres=[["Comedy"]] * 3 + [refused] * 3, year=[1977] * 6,
    )  # fmt: skip
    wars = replace(
        data, interactions=Sequences.from_lists([[4, 5, 6, 1, 2, 3]] * 40),
        users=pl.DataFrame({"user": range(40), "raw_user": [str(u) for u in range(40)]}),
    )  # fmt: skip
    frame = simulate_utterances(wars, seed=0).select(split="test").frame
    assert set(frame["target"]) == {3}
    attributes = frame.filter(pl.col("level").is_in(LEVELS[:2]))
    said = set(attributes["conditions"].explode().drop_nulls())
    assert "not genre=War" not in said and any(Constraint.parse(c).negated for c in said)
    # every way of saying it has the same constraints
    assert len(attributes.unique(["user", "conditions"])) == 40


def test_an_artist_of_the_same_name_is_not_said() -> None:
    """The creator of a self-titled album would give it away."""
    data = invented("amazon-cds", title="Soft Ladders", creator="Soft Ladders")
    frame = simulate_utterances(data, seed=0, config=SHOP_CONFIG).frame
    of_the_album = frame.filter(pl.col("target") == data.n_items)
    assert len(of_the_album) >= 9 * data.n_users
    assert not of_the_album["text"].str.contains("(?i)ladder").any()
    of_others = frame.filter(pl.col("target") != data.n_items)
    assert of_others["text"].str.contains("by Soft Ladders").any()


def test_where_nothing_can_be_said_nothing_is() -> None:
    """A title that holds every word for what is known of the item."""
    data = invented("amazon-cds", title="Pop", genres=["Pop"], bare=True)
    said = simulate_utterances(
        data, seed=0, config=SimulatorConfig(n_reused_cuts=0, one_turn_share=1.0)
    )
    assert set(said.select(split="train").frame["turns"].list.len()) == {1}
    for row in rows(said.select(split="test", level="plain")):
        assert not re.search(r"\bpop\b", row["text"], re.I) and not values(row, "genre")


@pytest.mark.parametrize("seed", range(5))
def test_films_with_unknown_genres_or_years_do_no_harm(seed: int) -> None:
    said = simulate_utterances(bare_dataset(), seed=seed)
    decades = {decade for row in rows(said) for decade in values(row, "decade")}
    assert decades <= {"1980", "1990"}
    # a genre without phrases of its own is called by its name
    named = said.frame.filter(pl.col("conditions").list.contains("genre=IMAX"))
    assert len(named) > 0 and named["text"].str.contains("IMAX", literal=True).all()
    # the target of "valid" has neither genre nor year: nothing can be said about it
    assert {c.slot for row in rows(said.select(split="valid")) for c in row["said"]} <= {"liked"}
    assert min(map(len, said.texts)) > 5


def test_bad_arguments_are_named(utterances: Utterances) -> None:
    with pytest.raises(DataError, match=r"There is no level 'vauge'. Known: by example"):
        utterances.select(level="vauge")
    with pytest.raises(ConfigError, match="one_turn_share"):
        SimulatorConfig(one_turn_share=1.5)
    with pytest.raises(ConfigError, match="exceeds 1"):
        SimulatorConfig(two_examples_share=0.8, relation_share=0.8)


def test_history_dropout_cuts_a_share_of_the_training_histories_alone() -> None:
    data = first_users(world("films").data, 60)
    made = {
        share: simulate_utterances(data, config=SimulatorConfig(history_dropout=share)).frame
        for share in (0.0, 0.3)
    }
    assert "kept" not in made[0.0].columns and made[0.3].drop("kept").equals(made[0.0])
    again = simulate_utterances(data, config=SimulatorConfig(history_dropout=0.3)).frame
    assert again.equals(made[0.3])
    kept = made[0.3].filter(split="train")["kept"]
    # four standard deviations of a share
    assert abs(kept.is_not_null().mean() - 0.3) < 4 * (0.21 / len(kept)) ** 0.5
    counts = dict(kept.drop_nulls().value_counts().iter_rows())
    assert set(counts) == {0, 1, 2, 3, 5} and counts[0] > 1.4 * max(counts[n] for n in (1, 2, 3, 5))
    assert made[0.3].filter(pl.col("split") != "train")["kept"].is_null().all()
    with pytest.raises(ConfigError, match="history_dropout="):
        SimulatorConfig(history_dropout=1.5)
