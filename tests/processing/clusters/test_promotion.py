import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from processing.clusters.promotion import Promoted, PromoteSettings, promote_clusters
from processing.errors import InputError
from store.clusters.cluster import Build, Cluster, Facts, Member, Term
from store.clusters.cluster_store import ClusterStore
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Row, RowState
from store.errors import ClusterError, FilterError
from store.json_text import dumps
from store.trace import Outcome, Reply, Trace
from store.traces import TraceReader, TraceWriter
from tests.store.clusters.test_opening import call, message

TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{bro"}}


def reply(content: Any, finish: str | None = "stop", **fields: Any) -> tuple[Reply, ...]:
    return (Reply(0, dumps({"role": "assistant", "content": content, **fields}), finish),)


def cluster(id_: int, traces: int, applications: int = 1) -> Cluster:
    return Cluster(id_, 1, 1, (Term("sql", traces, is_named=True),), Facts(traces, 0.5, traces, 0, 0, applications))


async def promote(folder: Path, *traces: Trace, apart: int = 0, **settings: Any) -> tuple[Promoted, list[Row]]:
    """Put the traces into cluster 5, the last of them nearest its middle, and promote it; some go to cluster 6."""
    async with await TraceWriter.open(folder / "traces.db") as writer:
        await writer.write(traces)
    members = [Member(trace.id, 6 if at < apart else 5, None, at / 100) for at, trace in enumerate(traces)]
    async with (
        await ClusterStore.open(folder / "work.db") as store,
        await DatasetStore.open(folder / "work.db") as datasets,
        await TraceReader.open(folder / "traces.db") as reader,
    ):
        if await store.last_build() is None:
            count = len(members) - apart
            clusters = [cluster(5, count, 3), cluster(6, apart)]
            await store.save_build(Build(1, "2026", {"embedder": "offline"}, {}), clusters, members)
        wanted = PromoteSettings(**{"clusters": (5,), "name": "sql", **settings})
        found = await promote_clusters(datasets, store, reader, wanted)
        assert found.version is not None
        return found, [row async for row in datasets.rows(found.version)]


def questions(count: int) -> list[Trace]:
    return [
        call(
            number,
            ("system", "s"),
            ("user", f"query number {number} please"),
            served_model="m",
            tags={"team": "a", "x": ""},
        )
        for number in range(1, count + 1)
    ]


async def test_a_row_is_a_call_with_its_recorded_answer_and_where_it_came_from(tmp_path: Path) -> None:
    found, (row,) = await promote(tmp_path, questions(1)[0])
    assert row.end.state is RowState.KEPT
    assert row.content["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "query number 1 please"},
        {"role": "assistant", "content": "reply query number 1 please", "weight": 1},
    ]
    assert (row.content["prompt"], row.content["response"]) == ("query number 1 please", "reply query number 1 please")
    metadata = row.content["metadata"]
    assert metadata["source_trace_id"] == str(UUID(int=1))
    assert (metadata["cluster_id"], metadata["teacher_model"], metadata["tags"]) == (5, "m", ["team=a", "x"])
    assert row.trace_ids == {str(UUID(int=1))}
    version = found.version
    assert version is not None
    assert (version.label, version.birth, version.is_frozen) == ("sql-v1", "clusters", False)
    assert version.manifest["clusters"] == [{"id": 5}]
    assert version.manifest["promotion"]["kept"] == 1


async def test_what_cannot_be_learned_from_ends_with_its_reason_and_the_counts_add_up(tmp_path: Path) -> None:
    asked = ("user", "write a query")
    traces = [
        *questions(3),
        call(11, asked, replies=(), outcome=Outcome.UPSTREAM_ERROR),
        call(12, asked, replies=reply("half", "length")),
        call(13, asked, replies=reply("cut"), outcome=Outcome.CLIENT_DISCONNECT),
        call(14, asked, replies=reply(None, refusal="I will not.")),
        call(15, asked, replies=reply(None, tool_calls=[TOOL_CALL])),
        call(16, asked, replies=reply("")),
        call(17, asked, replies=reply("Sorry", "content_filter")),
        call(18, ("system", "s"), ("user", "query number 2 please"), tags={"other": "tag"}),
    ]
    found, rows = await promote(tmp_path, *traces)
    ends = {(str(row.end.state), row.end.reason): row for row in rows}
    assert found.ends == {
        ("kept", "promoted"): 3,
        ("dropped", "no_assistant_turn"): 1,
        ("dropped", "length"): 1,
        ("dropped", "incomplete"): 1,
        ("dropped", "refusal"): 1,
        ("dropped", "invalid_tool_arguments"): 1,
        ("dropped", "empty_reply"): 1,
        ("dropped", "content_filter"): 1,
        ("dropped", "exact_duplicate"): 1,
    }
    assert len(rows) == len(traces) == found.traces
    # The one nearer the middle is kept.
    assert ends["dropped", "exact_duplicate"].content["metadata"]["source_trace_id"] == str(UUID(int=2))
    assert found.version is not None
    assert found.version.counts.entered == len(traces)


async def test_calls_of_one_conversation_are_in_one_group_and_each_teaches_its_own_answer(tmp_path: Path) -> None:
    first = (("user", "write a query for me"),)
    second = (*first, ("assistant", "reply write a query for me"), ("user", "shorter"))
    _, rows = await promote(tmp_path, call(1, *first), call(2, *second), questions(3)[2])
    groups = {row.content["metadata"]["source_trace_id"][-1]: row.content["metadata"]["group"] for row in rows}
    assert groups["1"] == groups["2"] != groups["3"]
    long = next(row for row in rows if len(row.content["messages"]) == 4)
    assert [message.get("weight") for message in long.content["messages"]] == [None, 0, None, 1]


async def test_rows_are_those_nearest_the_middle_that_were_picked_selected_and_not_excluded(tmp_path: Path) -> None:
    traces = questions(6)
    found, rows = await promote(tmp_path, *traces, rows=2, exclude=(str(UUID(int=6)),))
    assert {row.content["metadata"]["source_trace_id"] for row in rows} == {str(UUID(int=5)), str(UUID(int=4))}
    found, rows = await promote(tmp_path, name="other", pick=(str(UUID(int=1)), str(UUID(int=2))), where="model = m")
    assert found.kept == 2
    found, rows = await promote(tmp_path, name="third", where="created_at < 2026-01-01T00:00:03Z")
    assert {row.content["metadata"]["source_trace_id"][-1] for row in rows} == {"1", "2"}
    assert found.gone == 0


async def test_several_clusters_are_allowed_and_warned_of(tmp_path: Path) -> None:
    found, rows = await promote(tmp_path, *questions(4), apart=2, clusters=(5, 6))
    assert {row.content["metadata"]["cluster_id"] for row in rows} == {5, 6}
    assert any("2 clusters" in warning for warning in found.warnings)
    assert any("3 applications" in warning for warning in found.warnings)


async def test_more_can_be_added_and_what_is_there_is_not_added_twice(tmp_path: Path) -> None:
    traces = questions(4)
    await promote(tmp_path, *traces, pick=(str(UUID(int=1)),))
    found, rows = await promote(tmp_path, add=True)
    assert found.ends == {("kept", "promoted"): 3, ("dropped", "exact_duplicate"): 1}
    assert sum(row.end.state is RowState.KEPT for row in rows) == 4


async def test_a_manifest_keeps_no_word_that_an_erasure_takes_from_its_clusters(tmp_path: Path) -> None:
    """Clusters are named by words of their calls, and the manifest of a frozen version never changes."""
    found, _ = await promote(tmp_path, *questions(2))
    assert found.version is not None
    async with await DatasetStore.open(tmp_path / "work.db") as datasets:
        frozen = await datasets.freeze(found.version)
    assert found.clusters[0].name == "sql"
    assert "sql" not in json.dumps(frozen.manifest)


async def test_what_cannot_be_promoted_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    failed = call(11, ("user", "q"), replies=(), outcome=Outcome.UPSTREAM_ERROR)
    await promote(tmp_path, *questions(1), failed, name="first")
    for settings, error, words in (
        ({"clusters": (9,)}, ClusterError, "no cluster 9"),
        ({"pick": (str(UUID(int=99)),)}, InputError, "in none of these clusters"),
        ({"exclude": ("nonsense",)}, InputError, "in none of these clusters"),
        ({"pick": (str(UUID(int=11)),)}, InputError, "would have no row: 1 no_assistant_turn"),
        ({"where": "model = nothing"}, InputError, "no trace was selected"),
        ({"where": "or"}, FilterError, "position"),
    ):
        with pytest.raises(error, match=words):
            await promote(tmp_path, **settings)
    async with await DatasetStore.open(tmp_path / "work.db") as datasets:
        assert [summary.name for summary in await datasets.datasets()] == ["first"]


async def test_a_member_that_retention_has_taken_is_counted_as_gone(tmp_path: Path) -> None:
    traces = questions(2)
    members = [Member(trace.id, 5, None, 0.5) for trace in (*traces, call(77, ("user", "q")))]
    async with await ClusterStore.open(tmp_path / "work.db") as store:
        await store.save_build(Build(1, "2026", {}, {}), [cluster(5, 3)], members)
    found, rows = await promote(tmp_path, *traces)
    assert (found.kept, found.gone, len(rows)) == (2, 1, 2)


async def test_odd_messages_become_rows_or_fail_alone(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,x"}}
    odd = call(21, ("user", [{"type": "text", "text": "what \u2028 is \ud800 this"}, image]))
    broken = call(22, ("user", "q"), messages=(message("user", "q"), b'{"role":5}'))
    found, _ = await promote(tmp_path, *questions(1), odd, broken)
    assert found.kept == 2
    assert sum(count for (state, _), count in found.ends.items() if state == "failed") == 1
