"""What an erasure takes of clusters; grepping the file, since that is what is promised."""

from pathlib import Path

from store.call import Call
from store.clusters.cluster import Build, Cluster, Facts, Member, Term
from store.clusters.cluster_store import ClusterStore
from store.erasing.selector import Selector, SelectorKind
from store.traces import TraceWriter
from tests.store.clusters.test_cluster_store import build, ids
from tests.store.erasing.store import asked, chat, do, erasing

VECTORS = {b"only-one": b"canary-vector", b"both": b"shared-vector"}


async def test_erasing_a_trace_takes_its_place_its_words_its_vector_and_the_names_made_of_it(tmp_path: Path) -> None:
    work = tmp_path / "work.db"
    words = (Term("many", 3, is_named=True), Term("canaryword", 1))
    told = Cluster(
        1, 1, 1, words, Facts(3, 1.0, 3, 0, 0), "canaryname", "canarysentence", named_from=frozenset(ids(1, 2))
    )
    other = Cluster(2, 1, 1, (Term("apart", 1, is_named=True),), Facts(1, 0.2, 1, 0, 0), "Apart", "kept")
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([chat(number, f"q{number}", "a", user=f"u{number}") for number in (1, 2, 3, 4)])
        async with await ClusterStore.open(work) as store:
            await store.add_vector_sources({b"only-one": ids(1), b"both": ids(1, 2)})
            await store.add_vectors(VECTORS, Call(b"c", "embed", "m", "http://x", b"{}", None, None, None, 1))
            members = [Member(id_, 1, None, 0.5) for id_ in ids(1, 2, 3)] + [Member(ids(4)[0], 2)]
            await store.save_build(build(1), [told, other], members)
        await writer.write(changes=[asked(Selector(SelectorKind.USER, "u1"))])
        await do(writer, erasing(tmp_path))
    async with await ClusterStore.open(work) as store:
        assert [member.trace_id for member in await store.members(1)] == ids(2, 3)
        left = await store.cluster(1)
        assert (left.name, left.terms, left.description, left.erased) == ("many", words[:1], None, 1)
        assert (await store.cluster(2)).description == "kept"
        assert await store.vectors([b"only-one", b"both"]) == {b"both": b"shared-vector"}
        assert await store.call(b"c") is not None
    assert b"canary" not in b"".join(file.read_bytes() for file in tmp_path.glob("work.db*"))


async def test_a_cluster_of_which_all_is_erased_has_no_word_left(tmp_path: Path) -> None:
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([chat(number, f"q{number}", "a", user="jane") for number in (1, 2)])
        async with await ClusterStore.open(tmp_path / "work.db") as store:
            told = Cluster(7, 1, 1, (Term("canary", 2, is_named=True),), Facts(2, 1.0, 2, 0, 0))
            await store.save_build(Build(1, "2026", {}), [told], [Member(id_, 7) for id_ in ids(1, 2)])
        await writer.write(changes=[asked(Selector(SelectorKind.USER, "jane"))])
        await do(writer, erasing(tmp_path))
    async with await ClusterStore.open(tmp_path / "work.db") as store:
        left = await store.cluster(7)
    assert (left.name, left.terms, left.erased) == ("cluster 7", (), 2)
