from pathlib import Path
from uuid import UUID

import pytest

from store.call import Call
from store.clusters.cluster import Apart, Build, Cluster, Facts, Member, Share, Term
from store.clusters.cluster_store import ClusterStore
from store.errors import ClusterError

CALL = Call(b"call", "embed", "m", "http://x/v1", b"{}", b"{}", b'{"prompt_tokens":3}', 0.5, 1)


def ids(*numbers: int) -> list[UUID]:
    return [UUID(int=number) for number in numbers]


def cluster(id_: int, build: int, traces: int = 2, *, named: bool = False) -> Cluster:
    return Cluster(
        id_,
        build,
        build,
        (Term(f"term {id_}", traces, is_named=True), Term("rare", 1)),
        Facts(traces, 0.5, 2, 0, 1, 1, (Share("m", traces),), 0.25, 1, 0.9, 3, "2026-01-01T00:00:00.000Z", None),
        model_name="Named" if named else None,
        named_from=frozenset(ids(1)) if named else frozenset(),
    )


def build(number: int) -> Build:
    return Build(number, "2026-01-01T00:00:00.000Z", {"embedder": "offline"}, {"traces": 3, "unclustered": {"far": 1}})


async def test_a_build_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    members = [Member(ids(1)[0], 1, None, 0.5), Member(ids(2)[0], 1, None, 0.75), Member(ids(3)[0], None, Apart.FAR)]
    async with await ClusterStore.open(tmp_path / "work.db") as store:
        assert await store.last_build() is None
        assert await store.next_ids() == (1, 1)
        await store.save_build(build(1), [cluster(1, 1)], members)
        assert await store.last_build() == build(1)
        assert await store.clusters() == [cluster(1, 1)]
        assert await store.members(1) == [members[1], members[0]]
        assert await store.members(1, limit=1) == [members[1]]
        assert {member.trace_id: member for member in await store.members()} == {one.trace_id: one for one in members}
        assert await store.cluster_of([*map(str, ids(1, 3, 9)), "line 4"]) == {str(ids(1)[0]): 1}
        assert (await store.cluster(1)).name == "term 1"
        with pytest.raises(ClusterError, match="no cluster 2"):
            await store.cluster(2)


async def test_a_cluster_that_is_found_no_more_is_retired_without_its_words_and_its_id_is_never_given_again(
    tmp_path: Path,
) -> None:
    async with await ClusterStore.open(tmp_path / "work.db") as store:
        await store.save_build(build(1), [cluster(1, 1), cluster(2, 1, named=True)], [Member(ids(1)[0], 2)])
        await store.save_build(build(2), [cluster(1, 2)], [Member(ids(1)[0], 1)])
        (current,) = await store.clusters()
        assert (current.id, current.first_build, current.last_build) == (1, 1, 2)
        retired = (await store.clusters(with_retired=True))[1]
        assert (retired.id, retired.is_retired, retired.terms, retired.model_name) == (2, True, (), None)
        assert await store.next_ids() == (3, 3)


async def test_of_two_builds_at_once_the_second_is_refused(tmp_path: Path) -> None:
    async with await ClusterStore.open(tmp_path / "work.db") as store:
        await store.save_build(build(1), [], [])
        with pytest.raises(ClusterError, match="somebody else"):
            await store.save_build(build(1), [cluster(1, 1)], [])
        assert await store.clusters() == []


async def test_vectors_are_kept_with_the_call_that_bought_them(tmp_path: Path) -> None:
    async with await ClusterStore.open(tmp_path / "work.db") as store:
        await store.add_vector_sources({b"a": ids(1, 2), b"b": ids(2)})
        await store.add_vectors({b"a": b"\x00" * 8}, CALL)
        await store.add_vectors({b"a": b"\x01" * 8}, CALL)
        assert await store.vectors([b"a", b"b"]) == {b"a": b"\x00" * 8}
        bought = await store.call(b"call")
        assert bought is not None
        assert (bought.purpose, bought.cost) == ("embed", 0.5)
