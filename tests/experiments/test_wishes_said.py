"""The command that says wishes: every wish, policy and person, each on its own."""

from experiments import wishes as command
from tests.conversation.fakes import fake_model

FILE = """wish = [
{name = "funny", kind = "a", messages = ["horror", "a comedy instead"], genres_any = ["Comedy"]},
{name = "hello", kind = "b", messages = ["Hello!"], answer = true}]
"""


def test_every_person_says_every_wish_and_nothing_of_the_one_before(monkeypatch, tmp_path) -> None:
    (tmp_path / "list.toml").write_text(FILE, "utf-8")
    monkeypatch.setattr(command, "WISHES", tmp_path / "list.toml")
    monkeypatch.setattr(command, "PEOPLE", (42, None))
    rows = list(command.say_wishes(fake_model(), "F"))
    told = [(row["user"], row["wish"], row["satisfied"], row["answered"]) for row in rows]
    assert told == [
        (user, *rest) for user in (42, None) for rest in (("funny", 1, None), ("hello", None, True))
    ]
