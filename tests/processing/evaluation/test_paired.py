"""Paired differences: the interval holds the truth, chance is seldom taken for a difference, few rows prove nothing."""

import random

import pytest

from processing.evaluation.paired import Paired, holm, paired_interval


def pairs(dice: random.Random, conversations: int, better: float) -> list[Paired]:
    """Two models on the same answers; the first is right more often by `better`, both fail on hard conversations."""
    found = []
    for number in range(conversations):
        own = dice.betavariate(4, 4)
        for _ in range(dice.randint(1, 4)):
            second = float(dice.random() < own)
            first = 1.0 if second == 0 and dice.random() < better / 0.5 else second
            found.append(Paired(f"c{number}", first - second))
    return found


@pytest.mark.parametrize(("conversations", "better"), [(30, 0.15), (80, 0.05)])
def test_the_interval_of_a_difference_holds_the_truth_in_nine_runs_of_ten(conversations: int, better: float) -> None:
    dice = random.Random(f"{conversations} {better}")
    runs = [paired_interval(pairs(dice, conversations, better), seed=1, resamples=300) for _ in range(200)]
    held = sum(one.low is not None and one.high is not None and one.low <= better <= one.high for one in runs)
    assert held / len(runs) >= 0.88


@pytest.mark.parametrize("conversations", [3, 8, 40])
def test_models_that_are_equally_good_are_seldom_told_apart(conversations: int) -> None:
    dice = random.Random(conversations)
    shown = 0
    for _ in range(300):
        equal = [Paired(f"c{number}", dice.choice((-1.0, 0.0, 1.0))) for number in range(conversations)]
        shown += paired_interval(equal, seed=1, resamples=200).is_shown
    assert shown / 300 <= 0.07


def test_a_few_conversations_never_prove_a_difference_however_many_rows_they_hold() -> None:
    found = paired_interval([Paired(f"c{number % 4}", 1.0) for number in range(400)], seed=1)
    assert (found.mean, found.p, found.answers, found.conversations) == (1.0, 0.125, 400, 4)
    assert not found.is_shown
    assert paired_interval([Paired(f"c{number}", 1.0) for number in range(6)], seed=1).is_shown
    assert paired_interval([Paired("one", 1.0)] * 9, seed=1)[:4] == (1.0, None, None, None)
    assert paired_interval([], seed=1)[:4] == (None, None, None, None)


def test_equal_answers_leave_room_for_what_was_not_seen() -> None:
    found = paired_interval([Paired(f"c{number}", 0.0) for number in range(20)], seed=1)
    assert (found.mean, found.p) == (0.0, 1.0)
    assert found.high == -(found.low or 0) == pytest.approx(0.1611, abs=1e-4)  # Wilson for 0 of 20
    assert not found.is_shown


def test_a_small_difference_that_is_the_same_everywhere_is_shown() -> None:
    found = paired_interval([Paired(f"c{number}", 0.07) for number in range(10)], seed=1)
    assert found.low == pytest.approx(0.07 * (1 - 1.96 / 10**0.5), abs=1e-5)
    assert found.is_shown
    assert not paired_interval([Paired(f"c{number}", 0.07) for number in range(3)], seed=1).is_shown


def test_the_order_of_pairs_does_not_matter() -> None:
    known = pairs(random.Random(7), 20, 0.2)
    assert paired_interval(known, seed=3) == paired_interval(reversed(known), seed=3)


def test_holm_by_hand() -> None:
    # 0.01 < 0.05/4, 0.015 < 0.05/3, 0.03 >= 0.05/2: the third and what follows are not shown.
    assert holm([0.03, 0.01, 0.04, 0.015]) == [False, True, False, True]
    assert holm([]) == []
