"""What is said of a text that does not fit its schema."""

from __future__ import annotations

import pytest

from latentcrs_utils.errors import ConfigError, ReplyError
from latentcrs_utils.language.structured_output import check_schema, complaint, require_valid

YEARS = {"type": "array", "items": {"type": "integer", "minimum": 1900}, "maxItems": 2}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (" [1980, 1990]\n", None),
        ("", "it is empty"),
        ("Sure! [1980]", "it is no JSON"),
        ("```json\n[1980]\n```", "it is no JSON"),
        ("[1980", "it is no JSON"),
        ("[NaN]", "NaN is no number in JSON"),
        ("[1850]", r"at $[0]: 1850 is less than the minimum of 1900"),
        ("[1980.5]", r"at $[0]: 1980.5 is not of type 'integer'"),
        ("[1980, 1981, 1982]", "at $: [1980, 1981, 1982] is too long"),
        ("[" * 100_000, "it is no JSON"),
    ],
)
def test_complaints(text, wrong):
    found = complaint(text, YEARS)
    assert found is None if wrong is None else wrong in found


def test_a_complaint_stays_short_whatever_it_quotes():
    long = complaint('"x"', {"enum": [f"genre {i}" for i in range(500)]})
    assert "'x' is not one of" in long and len(long) < 300


@pytest.mark.parametrize(
    ("finish", "advice"),
    [("end", "more capable model"), ("length", "max_new_tokens"), ("cut", "broke off")],
)
def test_the_advice_follows_the_ending(finish, advice):
    with pytest.raises(ReplyError, match=f"^m did not reply with JSON .*{advice}"):
        require_valid("[1980", YEARS, "m", finish)


def test_schemas_keep_their_order_and_must_be_some():
    assert check_schema({"type": "object", "properties": {"b": {}, "a": {}}}).index('"b"') < 40
    for schema in ({"enum": {1, 2}}, {"type": 5}, {"maxItems": -1}):
        with pytest.raises(ConfigError, match="The schema is no JSON"):
            check_schema(schema)
