"""Votes count as much as their voters deserve."""

import random

import pytest

from processing.reliability import LEAST_ROWS, Votes, decide, estimate

CLASSES = [f"class {number}" for number in range(5)]


def votes_of(accuracies: list[float], rows: int, seed: int = 1) -> tuple[list[Votes], list[str]]:
    dice = random.Random(seed)
    made, truths = [], []
    for _ in range(rows):
        truth = dice.choice(CLASSES)
        wrong = [name for name in CLASSES if name != truth]
        made.append({f"m{n}": truth if dice.random() < p else dice.choice(wrong) for n, p in enumerate(accuracies)})
        truths.append(truth)
    return made, truths


def test_reliability_is_found_without_anybody_knowing_the_truth() -> None:
    rows, _ = votes_of([0.9, 0.75, 0.6, 0.6], 600)
    found = estimate(rows, len(CLASSES))
    assert found == {
        "m0": pytest.approx(0.9, abs=0.051),
        "m1": pytest.approx(0.75, abs=0.051),
        "m2": pytest.approx(0.6, abs=0.051),
        "m3": pytest.approx(0.6, abs=0.051),
    }


def test_the_order_of_rows_and_voters_plays_no_part() -> None:
    rows, _ = votes_of([0.9, 0.7, 0.6], 200)
    shuffled = [dict(sorted(row.items(), reverse=True)) for row in rows]
    random.Random(2).shuffle(shuffled)
    assert estimate(rows, len(CLASSES)) == estimate(shuffled, len(CLASSES))


def test_too_few_rows_tell_nothing() -> None:
    rows, _ = votes_of([0.9, 0.7, 0.6], LEAST_ROWS - 1)
    assert estimate(rows, len(CLASSES)) == {}
    alone = [{"m0": row["m0"]} for row in votes_of([0.9], 500)[0]]
    assert estimate(alone, len(CLASSES)) == {}


def test_one_good_voter_outvotes_two_bad_ones_but_not_two_good_ones() -> None:
    votes = {"good": "a", "bad": "b", "worse": "b"}
    assert decide(votes, {"good": 0.95, "bad": 0.5, "worse": 0.45}, 4).label == "a"
    assert decide(votes, {"good": 0.95, "bad": 0.9, "worse": 0.9}, 4).label == "b"


def test_a_voter_below_chance_says_nothing() -> None:
    right = {"fair": 0.6, "liar": 0.05}
    alone = decide({"fair": "a"}, right, 4)
    assert decide({"fair": "a", "liar": "b"}, right, 4).label == "a"
    assert pytest.approx(alone.confidence) == 0.6


def test_confidence_is_how_often_the_label_is_right() -> None:
    rows, truths = votes_of([0.85, 0.75, 0.7, 0.6], 3000)
    right = estimate(rows, len(CLASSES))
    decided = [decide(row, right, len(CLASSES)) for row in rows]
    for low, high in ((0.4, 0.7), (0.7, 0.9), (0.9, 1.0)):
        hits = [one.label == truth for one, truth in zip(decided, truths, strict=True) if low <= one.confidence < high]
        said = [one.confidence for one in decided if low <= one.confidence < high]
        assert sum(hits) / len(hits) == pytest.approx(sum(said) / len(said), abs=0.08)


@pytest.mark.parametrize("accuracies", [[0.95, 0.6, 0.6], [0.6, 0.6, 0.6, 0.9], [0.8] * 3, [0.95, 0.9, 0.6, 0.6, 0.6]])
def test_the_vote_is_at_least_as_right_as_the_best_voter(accuracies: list[float]) -> None:
    hits, best = 0, 0
    for seed in range(6):
        rows, truths = votes_of(accuracies, 400, seed)
        right = estimate(rows, len(CLASSES))
        labelled = list(zip(rows, truths, strict=True))
        hits += sum(decide(row, right, len(CLASSES)).label == truth for row, truth in labelled)
        best += max(sum(row[voter] == truth for row, truth in labelled) for voter in rows[0])
    assert hits >= best - 0.005 * 2400  # the best voter is named by the truth, which the vote does not know


def test_a_few_more_rows_move_no_reliability() -> None:
    rows, _ = votes_of([0.9, 0.7, 0.62, 0.8], 420)
    assert estimate(rows[:400], len(CLASSES)) == estimate(rows, len(CLASSES))
