"""Ids sort by the order of their making, whatever the clock does."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import uuid7 as uuid7_module
from store.uuid7 import uuid7

NOW_MS = 1_760_000_000_000


@pytest.fixture(autouse=True)
def _new_process() -> Iterator[None]:
    """Ids made here must not decide those of other tests: a clock that ran ahead is never gone back behind."""
    before = uuid7_module._last_ms, uuid7_module._counter
    yield
    uuid7_module._last_ms, uuid7_module._counter = before


@given(st.lists(st.integers(-4_000_000, 4_000_000), max_size=200))
def test_ids_never_go_backwards_and_never_repeat_whatever_the_clock_does(steps_ms: list[int]) -> None:
    uuid7_module._last_ms = 0
    now_ms = NOW_MS
    made = []
    for step_ms in steps_ms:
        now_ms += step_ms
        made.append(uuid7(lambda: now_ms * 1_000_000))  # noqa: B023 - called at once
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {(id_.version, id_.variant) for id_ in made} <= {(7, "specified in RFC 4122")}


def test_a_clock_that_stands_still_runs_over_into_the_next_millisecond() -> None:
    uuid7_module._last_ms = 0
    made = [uuid7(lambda: NOW_MS * 1_000_000) for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert made[0].int >> 80 == NOW_MS
    assert NOW_MS + 1 <= made[-1].int >> 80 <= NOW_MS + 5, "4,096 ids share a millisecond"


def test_an_id_tells_the_time_it_was_made() -> None:
    uuid7_module._last_ms = 0
    before = time.time_ns() // 1_000_000
    made_at = uuid7().int >> 80
    assert before <= made_at <= time.time_ns() // 1_000_000
