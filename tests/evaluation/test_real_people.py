"""Real people's requests: titles of another source, halves, leakage, strangers and intervals."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.model import fit_em
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.evaluation import real_people as rp
from latentcrs_utils.evaluation.metrics import bootstrap_interval
from latentcrs_utils.evaluation.one_turn import EvalSet
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.utterances import simulate_utterances

CATALOGUE = [
    ("Beauty and the Beast", 1991), ("The Godfather: Part II", 1974), ("Heat", 1995),
    ("Seven (Se7en)", 1995), ("The City of Lost Children (La Cité des enfants perdus)", 1995),
    ("Les Misérables", 1995), ("Monty Python and the Holy Grail", 1974), ("Alien", 1979),
    ("Aliens", 1986), ("Schindler's List", 1993), ("Mother", 1996), ("Titanic", 1997),
    ("Star Wars", 1977), ("Batman & Robin", 1997), ("Batman", 1989), ("The Arrival", 1996),
    ("Sabrina", 1954), ("Sabrina", 1995), ("Twice Told", 1990), ("Twice Told", 1992),
    ("Toy Story", 1995), ("The Usual Suspects (aka Suspects)", 1995), ("Kull", 1997),
    ("Kull", 1997), ("Unknown title", None),
]  # fmt: skip
# title, year, year of the film that is meant (None: none is)
PAIRS = [
    ("Beauty and the Beast", 1991, 1991), ("beauty and the beast", 1992, 1991),
    ("Beauty and the Beast", 2017, None), ("The Godfather Part II", 1974, 1974),
    ("Godfather: Part II, The", 1975, 1974), ("The Godfather", 1972, None),
    ("The Godfather: Part III", 1974, None), ("Heat", 1997, None), ("Se7en", 1995, 1995),
    ("La cite des enfants perdus", 1995, 1995), ("City of Lost Children, The", 1995, 1995),
    ("Les Miserables", 1995, 1995), ("Les Misérables", 2012, None),
    ("Monty Python and the Holy Grail", 1975, 1974), ("Aliens", 1979, None), ("Alien", 1986, None),
    ("Mother!", 2017, None), ("Titanic", None, 1997), ("Star Wars!", 1977, 1977),
    ("Batman and Robin", 1997, 1997), ("Batman", 1997, None), ("Arrival", 2016, None),
    ("Arrival", 1996, 1996), ("Sabrina", 1994, 1995), ("Sabrina", None, None),
    ("Twice Told", 1991, None), ("Toy Story 2", 1995, None), ("Suspects", 1995, 1995),
    ("Kull", 1997, 1997), ("Unknown title", None, None),
]  # fmt: skip


def catalogue(titles: list[tuple[str, int | None]]) -> Catalogue:
    rows = [(n, title, year, ["Drama"]) for n, (title, year) in enumerate(titles, start=1)]
    frame = pl.DataFrame(rows, ["item", "title", "year", "genres"], orient="row")
    return Catalogue(SimpleNamespace(name="ml-100k", items=frame))  # type: ignore[arg-type]


@pytest.mark.parametrize(("title", "year", "meant"), PAIRS)
def test_titles_of_another_source(title: str, year: int | None, meant: int | None) -> None:
    found = rp.FilmFinder(catalogue(CATALOGUE))(title, year)
    assert (found and CATALOGUE[found - 1][1]) == meant
    assert found != 24  # a film under two ids is the first of them


def test_halves_are_of_dialogues_and_stay() -> None:
    half_of = {(r.dialogue, r.half) for r in rp.read_requests()}
    assert len(half_of) == len({dialogue for dialogue, _ in half_of})
    assert Counter(half for _, half in half_of) == {"choice": 423, "report": 410}
    known = {"6712": "report", "19261": "choice"}
    assert {d: rp.RealRequest(d, "any", [], ("any", None)).half for d in known} == known


@pytest.mark.parametrize(
    "line",
    [
        "{", '{"dialogue": "1", "text": "a", "named": []}', "[]", '{"dialogue": 1}',
        '{"dialogue": "1", "text": "", "named": [], "target": ["A", 1999]}',
        '{"dialogue": "1", "text": "a", "named": [["A"]], "target": ["A", 1999]}',
        '{"dialogue": "1", "text": "a", "named": [], "target": ["A", "1999"]}',
    ],
)  # fmt: skip
def test_a_malformed_line_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    good = {"dialogue": "1", "text": "a", "named": [["B", None]], "target": ["A", 1999]}
    path.write_text(json.dumps(good) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"requests.jsonl, line 2: is no request"):
        rp.read_requests(path)
    with pytest.raises(DataError, match="is missing"):
        rp.read_requests(tmp_path / "none.jsonl")


def test_nothing_is_trained_on_what_people_said(data: Dataset) -> None:
    said = {request.text for request in rp.read_requests()}
    assert len(said) > 1_900 and said.isdisjoint(simulate_utterances(data, seed=0).texts)


class Heard:
    """The language of the small world, which also reads what people write freely."""

    def __init__(self, language: object) -> None:
        self.__dict__.update(vars(language), mean=torch.zeros(3))
        self.fingerprint = "small language"

    def encode(self, texts: list[str], progress: bool | None = None) -> torch.Tensor:
        return torch.tensor([[len(text), text.count("a"), 1.0] for text in texts])


def film(item: int) -> tuple[str, int]:
    return f"Film {item}", 1970 + item


ASKED = [
    rp.RealRequest("6712", "a scary one", [], film(3)),
    rp.RealRequest("6712", "scary again", [film(5), ("Other", 2001), film(4), film(5)], film(9)),
    rp.RealRequest("6712", "named already", [film(9)], film(9)),
    rp.RealRequest("6712", "of no catalogue", [], ("Other", 2001)),
]


def test_a_stranger_is_whom_the_chat_does_not_know(
    small_world: tuple, monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    world, backbone, anchors, language = small_world
    language = Heard(language)
    monkeypatch.setattr(rp, "read_requests", lambda: ASKED)
    cases = rp.real_people_cases(world, backbone, language, ASKED[0].half)
    assert cases.texts == ["a scary one", "scary again"]
    assert cases.instances.targets.tolist() == [3, 9]
    assert [row.tolist() for row in cases.instances.histories] == [[], [5, 4]]
    assert cases.frame["stranger"].to_list() == [True, False]
    assert cases.frame["level"].unique().to_list() == ["real people"]
    model = fit_em(world, backbone, anchors, language, residual=True, progress=False)
    for case, history in enumerate((None, [5, 4])):
        beliefs = Conversation(model, history=history, chat_model=None).beliefs
        belief, one = beliefs(history or [], [cases.texts[case]]), cases.take(slice(case, case + 1))
        torch.testing.assert_close(belief.S, one.instances.S)
        torch.testing.assert_close(belief.x, one.instances.x)
    with pytest.raises(ConfigError, match="choose one of choice, report"):
        rp.real_people_cases(world, backbone, language, "test")
    with pytest.raises(DataError, match="No request"):
        rp.real_people_cases(world, backbone, language, ({*rp.HALVES} - {ASKED[0].half}).pop())


def test_intervals_are_paired_and_resample_dialogues() -> None:
    dialogues, stranger = ["a"] * 6 + ["b", "c"], [True] * 6 + [False] * 2
    frame = pl.DataFrame({"dialogue": dialogues, "stranger": stranger})
    cases = EvalSet(None, dialogues, frame)  # type: ignore[arg-type]
    hits, misses = np.ones(8, dtype=int), np.full(8, 30)
    ours = np.where([name == "a" for name in dialogues], hits, misses)
    table = rp.describe_people(cases, [{"x": ours, "y": misses}, {"x": ours, "y": misses}], "y")
    row = table.filter(people="all", system="x").row(0, named=True)
    assert (row["n"], row["dialogues"], row["Recall@5"], row["Recall@5_gap"]) == (8, 3, 0.75, 0.75)
    # as independent requests the interval would be half as wide
    low, high = bootstrap_interval((ours == 1).astype(float))
    assert row["Recall@5_high"] - row["Recall@5_low"] > 1.5 * (high - low)
    assert table.filter(people="strangers", system="x")["dialogues"].to_list() == [1]
    assert table.filter(system="y")["NDCG@20_gap"].to_list() == [0.0] * 3
