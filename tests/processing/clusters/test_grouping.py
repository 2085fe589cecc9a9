import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processing.clusters import offline_vectors as offline
from processing.clusters.grouping import group
from processing.clusters.offline_vectors import offline_vectors

DIMENSIONS = 128


def around(centres: int, each: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around some directions, and the direction of each."""
    chance = np.random.default_rng(seed)
    directions = chance.normal(size=(centres, DIMENSIONS))
    labels = np.repeat(np.arange(centres), each)
    vectors = directions[labels] + spread * chance.normal(size=(len(labels), DIMENSIONS))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def weights(vectors: np.ndarray) -> np.ndarray:
    return np.ones(len(vectors), dtype=np.float32)


@pytest.mark.parametrize(("centres", "offset"), [(6, 0.0), (15, 0.0), (15, 2.0)])
def test_groups_are_found_without_a_number_whatever_unrelated_texts_have_in_common(centres: int, offset: float) -> None:
    """Many models put all texts into one corner: unrelated ones have a similarity of 0.7 there."""
    vectors, labels = around(centres, 60, 0.5)
    vectors[:, 0] += offset
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = group(vectors, weights(vectors), clusters=None, seed=0)
    pairs = {(int(label), int(number)) for label, number in zip(labels, found.groups, strict=True) if number >= 0}
    assert len(pairs) == centres
    assert len({number for _, number in pairs}) == centres
    assert np.mean(found.groups >= 0) > 0.98


@pytest.mark.parametrize("wanted", [1, 3, 20])
def test_a_number_of_clusters_that_is_given_is_made(wanted: int) -> None:
    vectors, _ = around(6, 50, 0.5)
    found = group(vectors, weights(vectors), clusters=wanted, seed=0)
    assert len(set(found.groups.tolist()) - {-1}) == wanted


def test_a_text_that_has_nothing_in_common_with_any_is_far() -> None:
    vectors, _ = around(6, 50, 0.5)
    vectors[17] = 0
    found = group(vectors, weights(vectors), clusters=None, seed=0)
    assert found.groups[17] == -1


@pytest.mark.parametrize("count", [0, 1, 2, 13])
def test_few_vectors_and_equal_ones_are_no_special_case(count: int) -> None:
    vectors = np.tile(np.eye(1, DIMENSIONS, dtype=np.float32), (count, 1))
    found = group(vectors, weights(vectors), clusters=None, seed=0)
    assert set(found.groups.tolist()) <= {0}


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=15, unique=True))
@settings(max_examples=40, deadline=None)
def test_any_texts_have_vectors_and_groups(texts: list[str]) -> None:
    vectors = offline_vectors(texts, seed=0)
    found = group(vectors, weights(vectors), clusters=None, seed=0)
    assert len(found.groups) == len(vectors) == len(texts)
    assert np.isfinite(vectors).all()
    assert (np.linalg.norm(vectors, axis=1) < 1.001).all()


def test_the_same_vectors_give_the_same_groups_whatever_the_number_of_threads() -> None:
    from threadpoolctl import threadpool_limits

    vectors, _ = around(10, 80, 0.9)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(group(vectors, weights(vectors), clusters=None, seed=0))
    assert np.array_equal(found[0].groups, found[1].groups)


def test_texts_beyond_those_that_are_learned_from_lie_where_alike_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "_LEARNED_CHARACTERS", 2_000)
    monkeypatch.setattr(offline, "_CHARACTERS_AT_ONCE", 500)
    topics = ("write a sql query about table", "give me a recipe with fresh", "refund my order of the broken")
    texts = [f"{topics[at % 3]} thing{at} and {at % 7}" for at in range(150)]
    vectors = offline_vectors(texts, seed=0)
    assert vectors.shape[0] == 150
    learned_from = next(at for at in range(150) if sum(map(len, texts[: at + 1])) >= 2_000) + 1
    similar = vectors[learned_from:] @ vectors[:3].T
    assert similar.argmax(axis=1).tolist() == [at % 3 for at in range(learned_from, 150)]
