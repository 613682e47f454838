"""What "More like this" says."""

import pytest

from latentcrs_utils.conversation.guards import clean_message
from latentcrs_utils.conversation.policies import more_like
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import Recommendation
from tests.conversation.fakes import FakeModel


def test_more_like_names_the_title_as_one_would_say_it():
    film = Recommendation(1, "Nosferatu (A Symphony)", 1922, ("Horror",), 0.0)
    for item in (film, film.label, film.title, "Nosferatu"):
        assert more_like(item) == "Something like Nosferatu."


@pytest.mark.parametrize("title", ["Scary Movie", "1941", "Western", "2001: A Space Odyssey"])
def test_more_like_requires_nothing(title):
    model = FakeModel()
    titles = model.data.items["title"].to_list()
    titles[6] = title
    model.data.items.replace_column(
        model.data.items.columns.index("title"), type(model.data.items["title"])("title", titles)
    )
    turn = Conversation(model, chat_model=None, variant="F").say(more_like(f"{title} (1957)"))
    assert turn.requirements == ()


def test_a_hostile_title_makes_a_message_like_any_other():
    text = more_like("<script>alert(1)</script> [x](javascript:1)")
    assert clean_message(text) == text == "Something like <script>alert</script> [x]."
