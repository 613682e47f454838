"""Thoughts are found by their marks, however the reply is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.language.thoughts import SpokenText, closed

NAMES = ["think", "thinking", "thought", "seed:think", "THINK", "reasoning", "antThinking"]
MARKS = [(f"<{name}>", f"</{name}>") for name in NAMES]
MARKS += [("[THINK]", "[/THINK]"), ("◁think▷", "◁/think▷"), ("<unused94>thought\n", "<unused95>")]
MARKS += [("<think time='3'>", "</think>"), ("<|START_THINKING|>", "<|END_THINKING|>")]
MARKS += [("<|begin_of_thought|>", "<|end_of_thought|>"), ("<|channel>thought\n", "<channel|>")]
CHANNEL = "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"
MARKS += [CHANNEL]
REPLY = "A <3 quiet [old] film & 1 < 2."


def read(text: str, places: list[int]) -> tuple[SpokenText, list[str]]:
    """What is made of a text that comes in pieces, and what was shown."""
    # one letter is too little to hold anything back
    edges = sorted({0, *(place % (len(text) + 1) for place in places)} - {1})
    spoken = SpokenText()
    pieces = [text[a:b] for a, b in zip(edges, [*edges[1:], len(text)], strict=True)]
    return spoken, [*map(spoken.add, pieces), spoken.add("", ended=True)]


@given(st.sampled_from(MARKS), st.lists(st.integers(0, 10**6), max_size=40), st.data())
def test_a_thought_is_left_out_wherever_the_pieces_begin(marks, places, data):
    opening, closing = marks
    thought = data.draw(st.text("ab .\n\ud83c", max_size=20))
    for before, after, text in [
        ("", "", REPLY),
        (f"{opening}{thought}{closing}\n\n", "", REPLY),
        (f"\n{opening}\n{thought}", "", ""),
        (f"{opening}{thought}{closing}", f"{opening}{thought}{closing}", REPLY),
        ("<answer>", "</answer>", REPLY),
        (f"{opening}{thought}{closing}", closing, REPLY),
        (f"Okay, {thought}{closing}", "", REPLY),
        (f"The user {thought}", "", f"The user {thought}{REPLY}".replace("\ud83c", "\ufffd")),
    ]:
        spoken, shown = read(f"{before}{text and REPLY}{after}", places)
        assert spoken.text == text and "".join(shown) == text
        assert not before.startswith(opening) or spoken.thought == bool(thought.strip())


@given(st.text(), st.lists(st.integers(0, 10**6)))
def test_what_has_no_mark_stays_as_it_is(text, places):
    spoken, shown = read(text, places)
    if not any(mark in text for mark in "<[◁"):
        assert spoken.text == "".join(shown) == text and not spoken.thought


def test_words_in_place_of_marks_and_prompts_that_open_a_thought():
    for text in ("analysisThe user.assistantfinalA film.", "analysis. assistantfinalA film."):
        spoken, shown = read(text, [3, 8])
        assert spoken.text == "".join(shown) == "A film." and spoken.thought
    assert read("It was so.</think>A film.", [5])[0].text == "A film."
    for prompt, whole in [("a<think>\n", "</think>"), ("a[THINK]", "[/THINK]")]:
        assert closed(prompt).removeprefix(prompt).strip() == whole
    for prompt in ("", "a", "<think>\n</think>\n", "<|assistant|>", "<user>"):
        assert closed(prompt) == prompt


@pytest.mark.parametrize("opening", ["Alright", "Hmm, ", "Let me see", "We need to", "First, "])
def test_what_begins_like_a_thought_is_shown_when_it_is_whole(opening):
    spoken = SpokenText()
    assert spoken.add(f"{opening} Alien") == ""
    assert spoken.add(" is a film.", ended=True) == spoken.text == f"{opening} Alien is a film."
