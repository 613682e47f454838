"""What printed metrics say about each other: bounds that rankings reach, and printed rows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.evaluation import published
from latentcrs_utils.evaluation.dialogues import Dialogue, success_by, turns_taken
from latentcrs_utils.evaluation.published import DATA_SETS, METRICS, ROWS, contradictions, printed
from latentcrs_utils.ranking import ndcg, recall


def metrics_of(ranks: list[int]) -> dict[str, float]:
    r = torch.tensor(ranks)
    values = (recall(r, 5), ndcg(r, 5), recall(r, 20), ndcg(r, 20))
    return {name: float(value.mean()) for name, value in zip(METRICS, values, strict=True)}


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_real_rankings_never_leave_the_bounds(ranks: list[int]) -> None:
    m = metrics_of(ranks)
    low, high = published.ndcg_bounds(m["Recall@5"], m["NDCG@5"], m["Recall@20"])
    assert low - 1e-9 <= m["NDCG@20"] <= high + 1e-9
    assert contradictions(m) == [] and published.gain(ranks[0]) == ndcg(torch.tensor(ranks), 99)[0]
    # printed with three and four digits they stay possible
    digits = {name: 3 if name.startswith("Recall") else 4 for name in METRICS}
    rounded = {name: round(m[name], digits[name]) for name in METRICS}
    assert contradictions(rounded, {n: 0.5 * 10.0 ** -digits[n] for n in METRICS}) == []


def test_both_bounds_are_reached() -> None:
    for late, end in ((20, 0), (6, 1)):
        m = metrics_of([1, 3, late, late, 50])
        bounds = published.ndcg_bounds(m["Recall@5"], m["NDCG@5"], m["Recall@20"])
        assert bounds[end] == pytest.approx(m["NDCG@20"])


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ((0.3, 0.2, 0.2, 0.2), "Recall@20 0.2 is below Recall@5 0.3"),
        ((0.3, 0.31, 0.5, 0.37), "NDCG@5 0.31 is above Recall@5 0.3"),
        ((0.3, 0.1, 0.3, 0.1), "NDCG@5 0.1 is below Recall@5 x 0.3869"),
        ((0.3, 0.2, 0.5, 0.3), "NDCG@20 0.3 is outside 0.2455 to 0.2712"),
    ],
)
def test_each_contradiction_is_said(values: tuple[float, ...], complaint: str) -> None:
    assert complaint in contradictions(dict(zip(METRICS, values, strict=True)))


def test_rounding_is_forgiven_and_no_more() -> None:
    _, high = published.ndcg_bounds(0.3, 0.2, 0.5)
    row = {"Recall@5": 0.3, "NDCG@5": 0.2, "Recall@20": 0.5, "NDCG@20": high + 0.001}
    assert contradictions(row)
    assert contradictions(row, dict.fromkeys(METRICS, 0.0003))
    assert contradictions(row, dict.fromkeys(METRICS, 0.0006)) == []


def test_the_printed_tables() -> None:
    assert len(ROWS) == 3 * (4 + 8 + 4)
    assert {row.data for row in ROWS} == set(DATA_SETS)
    ours = printed(2, "ml-1m", "LatentCRS_B")
    assert [ours.metrics[name] for name in METRICS] == [0.1437, 0.0921, 0.3305, 0.1449]
    assert set(ours.half_units.values()) == {0.00005}
    assert printed(3, "ml-1m", "GPT4").half_units["Recall@5"] == pytest.approx(0.0005)
    with pytest.raises(KeyError, match="There is: Table 2, amazon-cds, CRIF"):
        printed(2, "ml-1m", "Chat-Rec")
    table, tokens = published.dialogue_rows(), published.token_rows()
    assert (len(table), len(tokens)) == (11 * len(DATA_SETS), 6 * len(DATA_SETS))
    for row in table.values():
        assert row.get("S@5", 1) >= row["S@3"] and 1 <= row.get("AT", 1) <= 5


def test_which_printed_rows_cannot_be() -> None:
    bad = {(r.table, r.data, r.system) for r in ROWS if contradictions(r.metrics, r.half_units)}
    assert not any(table == 2 for table, _, _ in bad)
    odd = {"Gemini 1.5 pro", "GPT4", "Chat-Rec"}
    assert {system for table, _, system in bad if table == 3} == odd
    assert (3, "amazon-cds", "GPT4") not in bad
    unrewarded = {(table, data) for table, data, system in bad if system == "w/o Recloss"}
    assert unrewarded == {(5, "ml-1m"), (5, "amazon-video-games")}
    assert len(bad) == 10


def turns_of(successes: list[int | None]) -> tuple[float, ...]:
    """S@3, S@5 and AT."""
    held = [Dialogue("B", user, 9, 0, success, ()) for user, success in enumerate(successes)]
    return success_by(held, 3).mean(), success_by(held, 5).mean(), turns_taken(held).mean()


@given(st.lists(st.integers(1, 5) | st.none(), min_size=1, max_size=30))
def test_real_dialogues_never_leave_the_bounds(successes: list[int | None]) -> None:
    s3, s5, at = turns_of(successes)
    low, high = published.turns_bounds(s3, s5)
    assert 0 <= s3 <= s5 <= 1 and low - 1e-9 <= at <= high + 1e-9


def test_both_bounds_of_the_turns_are_reached() -> None:
    for end, successes in enumerate(([1, 1, 4, None], [3, 3, 5, None])):
        assert turns_of(successes) == (0.5, 0.75, published.turns_bounds(0.5, 0.75)[end])
