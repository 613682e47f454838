"""The command that says wishes: every wish, policy and person, each on its own."""

from experiments import wishes as command
from tests.conversation.fakes import fake_model

FILE = """
[[wish]]
name = "then funny"
kind = "correction"
messages = ["horror", "a comedy instead"]
genres_any = ["Comedy"]
[[wish]]
name = "hello"
kind = "greeting"
messages = ["Hello!"]
answer = true
"""


def test_every_person_says_every_wish_and_nothing_of_the_one_before(monkeypatch, tmp_path) -> None:
    (tmp_path / "list.toml").write_text(FILE, "utf-8")
    monkeypatch.setattr(command, "WISHES", tmp_path / "list.toml")
    monkeypatch.setattr(command, "PEOPLE", (42, None))
    first, second = (list(command.say_wishes(fake_model(), "F")) for _ in range(2))
    assert [(row["wish"], row["user"]) for row in first] == [
        (name, user) for user in (42, None) for name in ("then funny", "hello")
    ]
    assert [row["satisfied"] for row in first] == [1, None, 1, None]
    assert [row["answered"] for row in first] == [None, True, None, True]
    told = ("seconds",)
    assert [{k: v for k, v in r.items() if k not in told} for r in first] == [
        {k: v for k, v in r.items() if k not in told} for r in second
    ]
