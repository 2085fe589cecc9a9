from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from processing.clusters.matching import match

IDS = [UUID(int=number + 1) for number in range(60)]


def spread(*sizes: int | None) -> dict[UUID, int | None]:
    return dict(zip(IDS, sizes, strict=False))


def test_a_cluster_keeps_its_id_when_it_grows_and_others_come_before_it() -> None:
    before = dict.fromkeys(IDS[:10], 7) | dict.fromkeys(IDS[10:20], 9)
    now = dict.fromkeys(IDS[:10], 1) | dict.fromkeys(IDS[10:20], 2) | dict.fromkeys(IDS[20:], 0)
    found = match(before, now, 3, 10)
    assert found.ids == (10, 7, 9)
    assert (found.kept, found.new, found.retired, found.moved) == ((7, 9), (10,), (), 0)


def test_of_a_cluster_that_was_split_the_larger_part_keeps_the_id() -> None:
    before: dict[UUID, int | None] = dict.fromkeys(IDS[:10], 3)
    now = {id_: (0 if at < 4 else 1) for at, id_ in enumerate(IDS[:10])}
    found = match(before, now, 2, 4)
    assert found.ids == (4, 3)
    assert found.moved == 4


def test_too_little_in_common_is_another_cluster_and_a_retired_id_is_not_given_again() -> None:
    before = dict.fromkeys(IDS[:20], 1)
    now = {id_: (0 if at < 5 else None) for at, id_ in enumerate(IDS[:20])}
    found = match(before, now, 1, 2)
    assert (found.ids, found.new, found.retired, found.moved) == ((2,), (2,), (1,), 20)


def test_traces_that_only_one_build_looked_at_change_nothing() -> None:
    before = dict.fromkeys(IDS[:50], 1)
    found = match(before, dict.fromkeys(IDS[48:60], 0), 1, 2)
    assert found.ids == (1,)


MAPPING = st.lists(st.none() | st.integers(0, 4), min_size=60, max_size=60)


@given(before=MAPPING, now=MAPPING)
def test_each_new_cluster_has_an_id_of_its_own_and_each_old_one_ends_once(
    before: list[int | None], now: list[int | None]
) -> None:
    old = {id_: None if number is None else number + 1 for id_, number in zip(IDS, before, strict=True)}
    found = match(old, dict(zip(IDS, now, strict=True)), 5, 100)
    assert len(set(found.ids)) == 5
    assert set(found.ids) == {*found.kept, *found.new}
    assert {number for number in old.values() if number is not None} == {*found.kept, *found.retired}
    assert not {*found.kept} & {*found.retired}
    assert all(id_ >= 100 for id_ in found.new)
