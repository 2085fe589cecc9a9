"""Vectors that a job buys are counted for the job, in the transaction that keeps them."""

from pathlib import Path
from uuid import UUID

from store.call import Call
from store.filed_job import Bounds, FiledJobs
from store.job_kind import JobKind
from tracemill.job_kinds.clusters import CountedClusters

CALL = Call(b"k" * 20, "embed", "m", "http://m/v1", b"{}", b"{}", b"{}", 0.25, 1)


async def test_a_call_for_vectors_counts_for_its_job(tmp_path: Path) -> None:
    path = tmp_path / "work.db"
    async with await FiledJobs.open(path) as work:
        filing = {"name": "n", "config": {}, "filed_by": "local", "request": "", "bounds": Bounds(max_calls=3)}
        await work.file("job-1", tmp_path / "dataset", kind=JobKind.CLUSTERS, **filing)  # type: ignore[arg-type]
        async with await CountedClusters.open(path) as store:
            store.run_id = "job-1"
            await store.add_vector_sources({b"v" * 20: {UUID(int=1)}})
            await store.add_vectors({b"v" * 20: b"1234"}, CALL)
            assert await store.vectors([b"v" * 20]) == {b"v" * 20: b"1234"}
        filed = await work.filed("job-1")
    assert filed is not None
    assert (filed.calls, filed.cost, filed.left) == (1, 0.25, Bounds(2, None))
