"""Intervals hold the truth as often as they say, few rows and few conversations included."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processing.interval import Scored, interval, wilson


def test_a_few_right_answers_do_not_prove_perfection() -> None:
    found = interval([Scored(f"c{number}", 1.0) for number in range(5)], seed=1)
    assert (found.mean, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.5655, abs=1e-4)  # Wilson for 5 of 5
    none = interval([Scored(f"c{number}", 0.0) for number in range(5)], seed=1)
    assert (none.low, none.high) == (0.0, pytest.approx(1 - 0.5655, abs=1e-4))


def test_rows_of_one_conversation_prove_no_more_than_one_when_all_are_right() -> None:
    many = interval([Scored(f"c{number % 5}", 1.0) for number in range(100)], seed=1)
    few = interval([Scored(f"c{number}", 1.0) for number in range(5)], seed=1)
    assert (many.low, many.high) == (few.low, few.high)


def test_equal_scores_between_0_and_1_leave_room_too() -> None:
    found = interval([Scored(f"c{number}", 0.8) for number in range(6)], seed=1)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.6
    assert found.high > 0.9


@pytest.mark.parametrize(("share", "rows", "low", "high"), [(0.5, 10, 0.2366, 0.7634), (0.9, 50, 0.7864, 0.9565)])
def test_wilson_by_the_book(share: float, rows: int, low: float, high: float) -> None:
    assert wilson(share, rows) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.parametrize("truth", [0.3, 0.8, 0.95])
@pytest.mark.parametrize("conversations", [10, 50])
def test_the_interval_holds_the_truth_in_nine_runs_of_ten(truth: float, conversations: int) -> None:
    dice = random.Random(f"{truth} {conversations}")
    runs, held = 300, 0
    for _ in range(runs):
        scores = []
        for number in range(conversations):
            # Conversations differ: one of a hard subject is wrong more often in all its rows.
            own = dice.betavariate(truth * 4, (1 - truth) * 4)
            scores += [Scored(f"c{number}", float(dice.random() < own)) for _ in range(dice.randint(1, 6))]
        found = interval(scores, seed=1)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    assert held / runs >= 0.9


def test_an_interval_counts_conversations_and_leaves_missing_scores_out() -> None:
    scores = [Scored(f"c{number % 10}", float(number % 2)) for number in range(100)]
    found = interval([*scores, Scored("c1", None)], seed=1)
    assert (found.mean, found.rows, found.missing, found.conversations) == (0.5, 100, 1, 10)
    assert found.low is not None
    assert found.high is not None
    # All rows of a conversation agree, so ten draws decide: far wider than the ±0.1 of a hundred independent rows.
    assert found.high - found.low > 0.4
    assert interval(scores, seed=1) == interval(reversed(scores), seed=1)


def test_an_interval_needs_two_conversations_and_a_mean_one_row() -> None:
    assert interval([Scored("a", 1.0), Scored("a", 0.0)], seed=1)[:3] == (0.5, None, None)
    assert interval([Scored("a", None)], seed=1)[:5] == (None, None, None, 0, 1)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.none() | st.floats(0, 1) | st.sampled_from([0.0, 1.0])), max_size=30
    ),
    st.none() | st.integers(),
)
def test_an_interval_lies_in_0_to_1_and_the_order_does_not_matter(
    rows: list[tuple[str, float | None]], seed: int | None
) -> None:
    found = interval([Scored(*row) for row in rows], seed=seed, resamples=50)
    values = [value for _, value in rows if value is not None]
    assert found.rows + found.missing == len(rows)
    for end in (found.mean, found.low, found.high):
        assert end is None or -1e-9 <= end <= 1 + 1e-9
    if found.low is not None and found.high is not None:
        assert found.low <= found.high
    if values and found.mean is not None:
        assert min(values) - 1e-9 <= found.mean <= max(values) + 1e-9
    assert interval([Scored(*row) for row in reversed(rows)], seed=seed, resamples=50) == found
