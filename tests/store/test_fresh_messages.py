"""Messages that are still at hand: a run of numbers without a gap, bounded, and gone when it may be wrong."""

from hypothesis import given
from hypothesis import strategies as st

from store.fresh_messages import FreshMessages


def test_what_was_kept_is_given_once_in_its_order() -> None:
    fresh = FreshMessages()
    fresh.keep([(5, b"five"), (6, b"six"), (7, b"seven"), (8, b"eight")])
    assert fresh.first == 5
    assert fresh.take(4, upto=7, most=2) == [(5, b"five"), (6, b"six")]
    assert fresh.take(6, upto=7, most=2) == [(7, b"seven")]
    assert fresh.take(7, upto=7, most=2) == []
    assert fresh.first == 8


def test_a_run_that_does_not_go_on_right_behind_is_left_for_later() -> None:
    fresh = FreshMessages()
    fresh.keep([(5, b"five"), (6, b"six")])
    assert fresh.take(3, upto=9, most=9) == []
    assert fresh.first == 5
    assert fresh.take(5, upto=9, most=9) == [(6, b"six")]
    assert fresh.first is None


def test_of_too_much_the_beginning_is_kept_and_once_it_is_taken_what_comes_next() -> None:
    fresh = FreshMessages(most_bytes=10)
    fresh.keep([(1, b"12345"), (2, b"12345"), (3, b"1"), (4, b"12")])
    fresh.keep([(5, b"1")])
    assert fresh.take(0, upto=5, most=9) == [(1, b"12345"), (2, b"12345")]
    fresh.keep([(6, b"more than ten bytes")])
    assert fresh.first is None
    fresh.keep([(7, b"12")])
    assert fresh.first == 7


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("keep"), st.integers(0, 3), st.integers(1, 5)),
            st.tuples(st.just("take"), st.integers(0, 4), st.integers(0, 6)),
            st.tuples(st.just("forget"), st.just(0), st.just(0)),
        )
    )
)
def test_whatever_comes_nothing_is_passed_over_and_nothing_given_under_another_number(
    steps: list[tuple[str, int, int]],
) -> None:
    fresh = FreshMessages(most_bytes=40)
    stored = taken = 0
    for what, some, more in steps:
        if what == "keep":
            # Numbers may be left out: a change in the same transaction stores messages, too.
            fresh.keep([(number, b"message %d" % number) for number in range(stored + some + 1, stored + some + more)])
            stored += some + more
        elif what == "take":
            after, upto = max(taken - some, 0), min(taken + more, stored)
            found = fresh.take(after, upto, most=3)
            assert found == [(after + 1 + at, b"message %d" % (after + 1 + at)) for at in range(len(found))]
            assert len(found) <= max(upto - after, 0)
            taken = max(taken, after + len(found))
        else:
            fresh.forget()
