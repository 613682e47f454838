"""The phrase book: pools that share nothing, words that no lexicon holds, slots that fit."""

import re
from itertools import combinations, product
from string import Formatter

import pytest
import torch
from rapidfuzz import fuzz
from rapidfuzz.distance import Indel

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.constraints.lexicon import extract, lexicon_of
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError
from latentcrs_utils.language.sentence_encoder import SentenceEncoder
from latentcrs_utils.simulation.agenda import N_PLACES
from latentcrs_utils.simulation.items import PRICE_STEPS, RELATIONS, Item
from latentcrs_utils.simulation.phrase_book import (
    DECADE_WORDS,
    DOMAINS,
    ERA_PARTS,
    FACTS,
    POOLS,
    Domain,
    phrase_book,
    pool,
)
from latentcrs_utils.support import assets
from tests.simulation.worlds import all_pools

# a paraphrase of one pool is no trivial edit of another pool's: on the words that carry meaning,
# rapidfuzz's token_set_ratio (0..100) stays below this
PARAPHRASE_BOUND = 70
# and letter by letter, a slot as one: Indel similarity (0..1) of phrases, of two pools and within
LETTER_BOUND, OWN_LETTER_BOUND = 0.75, 0.85
# and by meaning: cosine of all-MiniLM-L6-v2, slots filled. The nearest of two pools are at 0.82;
# of light edits made on purpose this or LETTER_BOUND finds 98 % of each kind, 0.92 as few as 9 %.
MEANING_BOUND = 0.85
FRAME_BOUND = 82  # token_sort_ratio of whole frames, which are mostly function words
FUNCTION_WORDS = """
a about album game after all an and are around as at be but by day days decade era film first for
from he her his how i i'll i'm in is it it's its last like made make makes me movie my no not of on
one or picture she shot so some something than that the their them there they this time times to
until was were what when where who whose with will would year years age
"""
# what a paraphrase must not name: genres and times for all, then what only shops have
PARAPHRASED = ("genres", "eras", "platforms", "creators", "prices")
FILES = [
    (domain, file) for domain in DOMAINS for file in PARAPHRASED if file in phrase_book(domain)
]
# at least so many ways to say a genre (as a whole and as an ingredient), by pool
AS_WHOLE = {"films": (40, 6, 8), "games": (4, 2, 3), "albums": (4, 2, 3)}
IN_ALL = {"films": (70, 10, 16), "games": (6, 3, 5), "albums": (6, 3, 5)}
MOODS = {domain: phrase_book(domain)["items"]["moods"] for domain in DOMAINS}


def meaning(phrase: str) -> str:
    words = re.findall(r"[a-z0-9'-]+", phrase.lower())
    return " ".join(word for word in words if word not in FUNCTION_WORDS.split())


def phrases(domain: Domain, *prefix: str) -> dict[str, list[str]]:
    """All phrases under ``prefix``, by pool."""
    entries = all_pools(domain, *prefix).values()
    assert entries
    return {name: [p for entry in entries for p in entry[name] if p] for name in POOLS}


def alike(first: list[str], second: list[str]) -> list[tuple[str, str]]:
    pairs = product(map(meaning, first), map(meaning, second))
    return [pair for pair in pairs if fuzz.token_set_ratio(*pair) >= PARAPHRASE_BOUND]


def filled(phrase: str, word: str) -> str:
    return re.sub(r"\{\w+\}", word, phrase).strip(" ,")


def letters_alike(first: str, second: str) -> float:
    return Indel.normalized_similarity(*(filled(p, "x").lower() for p in (first, second)))


@pytest.mark.parametrize("domain", DOMAINS)
def test_pools_share_no_phrase(domain: Domain) -> None:
    for file in phrase_book(domain).keys() - {"items"}:
        by_pool = {name: {p.lower() for p in said} for name, said in phrases(domain, file).items()}
        for one, other in combinations(POOLS, 2):
            assert not by_pool[one] & by_pool[other], file


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_paraphrase_is_a_light_edit_of_another_pools(domain: Domain) -> None:
    # genres, platforms and brands are compared each with itself: "Sony" is in many of them
    files = ("genres", "platforms", "creators", "prices")
    by_entry = [(file, key) for file in files for key in phrase_book(domain).get(file, {})]
    for prefix in [("moods",), ("eras",), *by_entry]:
        by_pool = phrases(domain, *prefix)
        for one, other in combinations(POOLS, 2):
            assert alike(by_pool[one], by_pool[other]) == [], prefix


def test_no_phrase_is_another_with_letters_changed() -> None:
    """Of those that say the same: neither another pool's nor, save for tails, one of its own."""
    by_use: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for (file, entry, *use), of_pools in all_pools("films").items():
        if file != "plain":
            key = file, use[0] if file in ("frames", "replies") else entry
            said = by_use.setdefault(key, [])
            said += [(name, phrase) for name in POOLS for phrase in of_pools[name] if phrase]
    for (file, use), said in by_use.items():
        for (one, first), (other, second) in combinations(said, 2):
            bound = LETTER_BOUND if one != other else 1 if file == "frames" else OWN_LETTER_BOUND
            assert letters_alike(first, second) < bound, (use, first, second)


def test_no_phrase_means_what_one_of_another_pool_does() -> None:
    """Of all that the films' book says of films, whatever the use; plain names are names."""
    if assets.cached(assets.MINILM) is None:
        pytest.skip("all-MiniLM-L6-v2 is not in the cache: run the course's notebook 04 once")
    said = [(number, phrase) for path, entry in all_pools("films").items() if path[0] != "plain"
            for number, name in enumerate(POOLS) for phrase in entry[name] if phrase]  # fmt: skip
    said += [(-1, ", free from the {touch}"), (0, ", free of {touch}")]  # was in the book
    x = SentenceEncoder(dtype="float32").embed([filled(p, "something") for _, p in said])
    pools = torch.tensor([number for number, _ in said])
    near = (x @ x.T >= MEANING_BOUND) & (pools[:, None] < pools)
    assert [(said[i], said[j]) for i, j in near[:-2].nonzero()] == [] and near[-2, -1]


@pytest.mark.parametrize("file", ["frames", "replies"])
@pytest.mark.parametrize("domain", DOMAINS)
def test_no_frame_is_a_light_edit_of_another_pools(domain: Domain, file: str) -> None:
    entries = [e for path, e in all_pools(domain, file).items() if path[1] != "place"]
    for one, other in combinations(POOLS, 2):
        said = ([p for entry in entries for p in entry[name] if p] for name in (one, other))
        for pair in product(*said):
            assert fuzz.token_sort_ratio(*pair) < FRAME_BOUND, pair


@pytest.mark.parametrize(("domain", "file"), FILES)
def test_no_paraphrase_holds_a_word_of_the_lexicon(domain: Domain, file: str) -> None:
    lexicon = lexicon_of(domain)
    for phrase in (p for of_pool in phrases(domain, file).values() for p in of_pool):
        assert not extract(phrase, lexicon), phrase


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_genre_is_paraphrased_often_enough(domain: Domain) -> None:
    for genre in lexicon_of(domain).genres:
        for prefix, wanted in ((("film",), AS_WHOLE), ((), IN_ALL)):
            of_pools = phrases(domain, "genres", genre, *prefix)
            for name, least in zip(POOLS, wanted[domain], strict=True):
                assert len(set(of_pools[name])) >= least, (genre, name)


def test_the_book_covers_the_catalogue(data: Dataset) -> None:
    genres = set(data.items["genres"].explode().drop_nulls())
    decades = {str(year // 10 * 10) for year in data.items["year"].drop_nulls()}
    assert len(genres) == 18 and genres == set(lexicon_of("films").genres)
    assert decades | set(ERA_PARTS) <= {path[1] for path in all_pools("films", "eras")}
    assert {int(decade) for decade in decades} <= set(DECADE_WORDS)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_book_and_the_code_know_the_same(domain: Domain) -> None:
    book, about = set(all_pools(domain)), phrase_book(domain)["items"]
    genres = set(lexicon_of(domain).genres)
    for file in ("genres", "plain"):
        for form in ("film", "touch"):
            with_form = {path[1] for path in book if path[0] == file and path[-1] == form}
            assert with_form - {"any other"} == genres, (file, form)
    moods = {path[1] for path in book if path[0] == "moods"}
    assert moods == {*MOODS[domain], "any"}
    named = {genre for rule in MOODS[domain].values() for genre in rule.get("any", ())}
    assert set(about["refused"]) | named <= genres | {"Easy Listening", "Progressive Metal"}
    relations = {path[2] for path in book if path[:2] == ("frames", "by example")}
    of_shops = {"cheaper", "same creator"}
    assert relations >= set(RELATIONS) - (of_shops if domain == "films" else set())
    if domain != "films":
        assert {path[1] for path in book if path[0] == "prices"} == set(map(str, PRICE_STEPS))
        names = about["names"]["genres"]
        assert set(names.values()) <= genres and not set(names) & genres


def test_every_platform_has_names_and_nicknames() -> None:
    book, known = phrase_book("games"), set(lexicon_of("games").platforms)
    names, attic = book["items"]["names"], book["items"]["moods"]["attic"]
    assert set(book["platforms"]) == set(book["platform_names"]) == known
    assert {*names["platforms"].values(), *attic["platforms"]} <= known
    assert set(names["creators"].values()) <= set(book["creators"])


def test_a_mood_belongs_to_one_domain_and_suits_by_its_rule() -> None:
    assert len(set().union(*MOODS.values())) == sum(map(len, MOODS.values()))
    drama, old = Item(1, "", 1996, frozenset({"Drama"})), Item(2, "", 1969, frozenset())
    undated = Item(3, "", None, frozenset({"Drama", "Comedy"}))
    between = Item(4, "", 1970, frozenset()), Item(5, "", 1995, frozenset())
    items = (drama, old, undated, *between)
    suited = {mood: [i.item for i in items if i.suits(mood)] for mood in MOODS["films"]}
    assert {mood: items for mood, items in suited.items() if items} == {
        "light": [3], "heavy": [1], "nostalgia": [2], "fresh": [1],
    }  # fmt: skip
    with pytest.raises(DataError, match="There is no mood 'sour'"):
        Constraint("mood", "sour").satisfies(drama)


def slots(frame: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(frame) if name is not None]


SLOTS = {
    "genre": ["touch"], "not": ["touch"], "time": ["era"], "like": ["title"], "restate": ["film"],
    "two": ["other", "title"], **{fact: ["fact"] for fact in FACTS},
    **{use: [] for use in (*RELATIONS, "nothing", "mood", "any")},
}  # fmt: skip
ASKS = {"plain": ["film"], "paraphrased": ["film"], "by example": ["rel", "title"], "vague": []}
REPLIES = all_pools("films", "replies")


@pytest.mark.parametrize("domain", DOMAINS)
def test_frames_have_exactly_the_slots_of_their_use(domain: Domain) -> None:
    checked = 0
    for (_, level, use, *_), entry in all_pools(domain, "frames").items():
        for frame in (f for name in POOLS for f in entry[name]):
            expected = ASKS[level] if use == "ask" else SLOTS[use]
            assert sorted(slots(frame)) == expected, (level, use, frame)
            checked += 1
    assert checked > 200


def test_replies_have_exactly_the_slots_of_their_use() -> None:
    uses: dict[str, set[str]] = {}
    for (_, kind, use), entry in REPLIES.items():
        uses.setdefault(kind, set()).add(use)
        expected = set() if kind == "place" else {"film"} if use == "genre" else {*SLOTS[use]}
        if kind in ("refuse", "repeat") and use != "mood":
            expected.add("which")
        if kind == "change" and expected:
            expected.add("old")
        for frame in (f for name in POOLS for f in entry[name]):
            assert set(slots(frame)) == expected, (kind, use, frame)
    assert uses == {
        "place": {*map(str, range(1, N_PLACES + 1)), "several"},
        "refuse": {"not", "time", "platform", "price"},
        "repeat": {"genre", "not", "time", "platform", "creator", "price", "like", "mood"},
        "change": {"genre", "like", "mood", "any"},
        "accept": {"any"},
    }


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_lexicon_reads_replies_as_they_are_meant(domain: Domain) -> None:
    """Without words of its own, and what is denied as denied: "plain" stays its home game."""
    lexicon = lexicon_of(domain)
    genre, old = list(lexicon.genres)[:2]
    checked = 0
    for (_, kind, use), entry in REPLIES.items():
        words = dict.fromkeys(("which", "title", "fact", "era", "old"), "it")
        meant = set()
        if use in ("genre", "not"):
            words |= {"touch": genre, "film": genre, "old": old}
            meant = {f"not genre={genre}" if use == "not" else f"genre={genre}"}
            meant |= {f"not genre={old}"} if kind == "change" else set()
        for frame in (f for name in POOLS for f in entry[name]):
            text = frame.format(**words)
            assert {*map(str, extract(text, lexicon).constraints)} == meant, (kind, use, text)
            checked += 1
    assert checked > 80


def test_an_unknown_entry_is_named() -> None:
    with pytest.raises(DataError, match="genres > Soap > film > train"):
        pool("train", "genres", "Soap", "film")
