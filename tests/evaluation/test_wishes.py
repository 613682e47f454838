"""Wishes: every truth is true of a right list, and false of a planted wrong one."""

import tomllib
from inspect import signature
from pathlib import Path

import pytest
import torch

from experiments import wishes as command
from latentcrs_utils.constraints.constraint import Requirements
from latentcrs_utils.conversation.listener import listener_for
from latentcrs_utils.conversation.policies import FilterPolicy, Request
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import Turn, describe
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError
from latentcrs_utils.evaluation.wishes import Wish, as_wished, read_wishes, score
from latentcrs_utils.widgets.app import ChatApp
from latentcrs_utils.widgets.controls import WORDS
from tests.conversation.fakes import fake_model

FILE = Path(__file__).resolve().parents[2] / "data" / "wishes.toml"


def answer(data: Dataset, *titles: str, reply: str = "", note: str = "") -> Turn:
    """A turn that offers the films of these titles."""
    ids = [int(data.titles.index(title)) for title in titles] if titles else []
    items = tuple(describe(data, item) for item in ids)
    for title, item in zip(titles, items, strict=True):
        assert item.title == title
    return Turn(1, "Please.", items, {}, {}, reply=reply, note=note)


def satisfied(data: Dataset, *titles: str, **truth: object) -> float | None:
    """How far these films satisfy a wish for them of which this must be true."""
    return score(answer(data, *titles), Wish("one", "kind", ("Please.",), **truth), data).satisfied


TRUTHS = {
    "genres_any": (("Western", "Horror"), "Alien", "Toy Story"),
    "genres_all": (("Action", "Sci-Fi"), "Alien", "Braveheart"),
    "genres_none": (("Horror",), "Toy Story", "Alien"),
    "years": ((1990, 1999), "Toy Story", "Alien"),
    # Aladdin shares three of three genres, Jumanji (Adventure, Children's, Fantasy) one
    "like": ("Toy Story", "Aladdin", "Jumanji"),
}


@pytest.mark.parametrize("field", TRUTHS)
def test_a_truth_counts_the_films_it_holds_for(field: str, data: Dataset) -> None:
    value, right, wrong = TRUTHS[field]
    shares = {(right,): 1, (wrong,): 0, (right, wrong): 0.5, (): 0}
    assert {titles: satisfied(data, *titles, **{field: value}) for titles in shares} == shares


def test_a_mood_is_that_of_the_phrase_books_and_a_model_no_answer(data: Dataset) -> None:
    assert satisfied(data, "Toy Story", like="Toy Story") == 0
    assert satisfied(data, "Aladdin", mood="light") == 1
    assert satisfied(data, "Alien", mood="light") == 0


def test_a_title_must_be_the_first_of_the_films(data: Dataset) -> None:
    assert satisfied(data, "Alien", "Toy Story", title="Alien") == 1
    assert satisfied(data, "Toy Story", "Alien", title="Alien") == 0


def test_small_talk_gets_no_films_and_limits_are_admitted(data: Dataset) -> None:
    talk = Wish("one", "kind", ("Hello.",), answer=True, says=("English",))
    assert score(answer(data, reply="I read english only."), talk, data).admitted
    assert score(answer(data, note="In English."), talk, data).admitted
    found = score(answer(data, "Alien", reply="Try this."), talk, data)
    assert (found.satisfied, found.answered, found.admitted) == (None, False, False)
    assert score(answer(data), talk, data).answered


def test_all_sixty_wishes_can_be_judged_and_met(data: Dataset) -> None:
    """Five unseen films for everybody; the reply admits what the words ask, and nothing else."""
    wishes, listener = read_wishes(FILE, data), listener_for(data, "film")
    assert len({wish.name for wish in wishes}) == len({wish.messages for wish in wishes}) == 60
    for wish in wishes:
        for user in (42, 13):
            seen = data.histories("test")[data.user_index(user)]
            assert wish.title or len(as_wished(wish, data).difference(seen)) >= 5, wish.name
        asks = listener.untold(wish.messages[-1])
        assert bool(asks) == bool(wish.says and not wish.answer), wish.name


def test_wishes_do_not_mix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    head = '[[wish]]\nkind = "k"\nname = "n"\ngenres_any = ["Comedy"]\nmessages = '
    two = f'{head}["horror", "comedy instead"]\n{head}["western"]\n'
    (tmp_path / "list.toml").write_text(two, "utf-8")
    monkeypatch.setattr(command, "WISHES", tmp_path / "list.toml")
    monkeypatch.setattr(command, "PEOPLE", (42, None))
    assert [row["satisfied"] for row in command.say_wishes(fake_model(), "F")] == [1, 0, 1, 0]


@pytest.mark.parametrize(("n", "genre"), [*enumerate(["Comedy", "Thriller", "Children's"])])
def test_a_new_chat_meets_what_it_suggests(n: int, genre: str, data: Dataset) -> None:
    idea = WORDS["ideas"][n]
    policy, new = FilterPolicy(data), (signature(of).parameters for of in (Conversation, ChatApp))
    assert all(options["policy"].default == policy.name for options in new)
    scores = torch.randn(data.n_items + 1, generator=torch.Generator().manual_seed(0))
    wanted = policy.parse(idea, Requirements()).requirements
    items = policy.select(Request(scores, (), 5, wanted, messages=[idea])).items
    assert len(items) == 5 and all(genre in item.genres for item in items)
    assert "eighties" not in idea or all(1980 <= (item.year or 0) <= 1989 for item in items)
    assert "no horror" not in idea or not any("Horror" in item.genres for item in items)


BAD = tomllib.loads(Path(__file__).with_name("bad_wishes.toml").read_text("utf-8"))


@pytest.mark.parametrize("line", BAD)
def test_a_bad_wish_is_named(line: str, data: Dataset, tmp_path: Path) -> None:
    good = '[[wish]]\nname = "good"\nkind = "k"\nmessages = ["Hi."]\nanswer = true\n'
    bad = f'[[wish]]\nname = "bad one"\nkind = "k"\nmessages = ["Hi."]\n{line}\n'
    (tmp_path / "list.toml").write_text(good + bad, "utf-8")
    with pytest.raises(DataError, match=r"Wish 2 \(bad one\) of list.toml: ") as caught:
        read_wishes(tmp_path / "list.toml", data)
    assert BAD[line] in str(caught.value)
    (tmp_path / "list.toml").write_text("[[wishes]]", "utf-8")
    with pytest.raises(DataError, match=r"list.toml holds no readable \[\[wish\]\]"):
        read_wishes(tmp_path / "list.toml", data)
