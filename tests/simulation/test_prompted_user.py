"""A language model plays the user: the rules of the prompt, and what happens when it breaks one."""

import tomllib
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.conversation.guards import ReplyGuard
from latentcrs_utils.errors import MessageError
from latentcrs_utils.language.chat_model import ScriptedChatModel
from latentcrs_utils.simulation.agenda import TestCase
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.prompted_user import PROMPT, PromptedUser, tidy_message
from latentcrs_utils.simulation.users import Accept, TemplateUser, UserMessage
from tests.conversation.fakes import fake_dataset

TARGET = 2  # Night of the Moth (1952), a horror film
HISTORY = [1, 3, 12]
HORROR = Constraint("genre", "Horror")


def user(*replies: str | Exception, title: str = "Night of the Moth") -> PromptedUser:
    data = fake_dataset()
    renamed = pl.when(pl.col("item") == TARGET).then(pl.lit(title)).otherwise(pl.col("title"))
    catalogue = Catalogue(replace(data, items=data.items.with_columns(renamed.alias("title"))))
    test_case = TestCase(catalogue, catalogue[TARGET], HISTORY)
    guard = ReplyGuard(item.title for item in catalogue.items)
    template = TemplateUser(test_case, level="plain")
    return PromptedUser(template, ScriptedChatModel(list(replies)), guard)


def test_the_prompt_tells_the_target_the_facts_and_the_history() -> None:
    person = user("I want a horror film.")
    message = person.say()
    (asked,) = person._chat_model.asked
    system, greeting = asked
    assert greeting == {"role": "user", "content": PROMPT["greeting"]}
    for part in ("Night of the Moth", "Horror, from 1952", "The Quiet Harbour (1951)", "<END>"):
        assert part in system["content"]
    assert "{" not in system["content"]
    assert isinstance(message, UserMessage) and message.text == "I want a horror film."
    assert (message.source, message.constraints) == ("scripted", (HORROR,))
    assert message.prompt_tokens > 100 and message.completion_tokens == 5


def test_it_hears_what_is_offered_and_what_it_said() -> None:
    person = user("Something scary for tonight.", "It was made in the fifties.")
    first = person.say()
    second = person.say([3, 10])
    roles = [message["role"] for message in person._chat_model.asked[1]]
    assert roles == ["system", "user", "assistant", "user"]
    contents = [message["content"] for message in person._chat_model.asked[1][2:]]
    assert contents[0] == first.text
    assert "Dust & Thunder (1953); Film Number 10 (1960)" in contents[1]
    fifties = Constraint("decade", "1950")
    assert second.constraints == (fifties,) and person.told == [HORROR, fifties]


def test_it_accepts_by_what_is_offered_not_by_what_it_says() -> None:
    person = user("Yes, I take that one!")
    person.say()
    assert isinstance(person.say([3, 10]), UserMessage)
    accepted = person.say([5, TARGET])
    assert isinstance(accepted, Accept) and accepted.item == TARGET
    assert len(person._chat_model.asked) <= 3


BAD = tomllib.loads(Path(__file__).with_name("bad_messages.toml").read_text("utf-8"))


@pytest.mark.parametrize("case", BAD)
def test_a_bad_message_is_asked_for_once_more(case: str) -> None:
    bad, reason = BAD[case]
    person = user(bad, "I want something scary.")
    message = person.say()
    assert message.text == "I want something scary." and message.source == "scripted"
    assert len(person.objections) == 1 and reason in person.objections[0]
    again = person._chat_model.asked[1]
    assert [m["role"] for m in again] == ["system", "user", "assistant", "user"]
    assert person.objections[0] in again[-1]["content"]
    # both tries are paid for
    assert message.completion_tokens == len(bad.split()) + 4
    # and the chat goes on without the bad one
    person.say([3])
    assert bad not in [m["content"] for m in person._chat_model.asked[2]]


@pytest.mark.parametrize("case", BAD)
def test_after_two_bad_ones_the_template_user_speaks(case: str) -> None:
    person = user(BAD[case][0])
    for offered in ((), (3, 10), (4, 11)):
        message = person.say(offered)
        assert isinstance(message, UserMessage) and message.source == "template"
        assert not person._template.test_case.target.leaks_title(message.text)
        assert message.prompt_tokens > 0
    assert len(person.objections) == 6 and len(set(person._template.messages)) == 3
    # what the template said, the model reads as its own words
    spoken = [m["content"] for m in person._chat_model.asked[-1] if m["role"] == "assistant"]
    assert spoken[:2] == person._template.messages[:2]


def test_a_title_in_two_messages_is_a_title_all_the_same() -> None:
    words = "I want to see.", "You now know something scary.", "Something scary."
    assert [user(words[0]).say().source, user(words[1]).say().source] == ["scripted"] * 2
    person = user(*words, title="See You Now")
    person.say()
    assert person.say([3]).text == words[2]
    assert person.objections == ["it gave away the title"]


def test_items_that_were_offered_or_liked_may_be_named_and_nothing_is_said_twice() -> None:
    person = user("I liked The Quiet Harbour.", "Film Number 10 is too tame for me.")
    assert [person.say().source, person.say([10]).source] == ["scripted"] * 2
    assert person.objections == []
    assert person.say([3]).source == "template"
    assert person.objections == ["it said the same thing twice"] * 2


def test_a_failing_model_is_not_papered_over() -> None:
    with pytest.raises(MessageError, match="too long"):
        user(MessageError("too long")).say()


@pytest.mark.parametrize(("written", "said"), [
    ('User: "I want a **scary** film." <END>', "I want a scary film."),
    ("I want a scary film. It should be from the", "I want a scary film."),
    ("One. Two! Three? Four.", "One. Two!"), ("no stop at all", ""),
])  # fmt: skip
def test_messages_are_tidied(written: str, said: str) -> None:
    assert tidy_message(written) == said
