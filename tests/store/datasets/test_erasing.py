"""Rows go with the traces they were made from: from every version and file, and the versions say so."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from store.connection import connect_sqlite
from store.datasets.dataset_store import DatasetStore
from store.datasets.decision import Decision, DecisionKind
from store.datasets.row import Part, Row, RowEnd, RowState
from store.datasets.version import Birth
from store.erasing.preview import preview
from store.erasing.selector import Selector, SelectorKind
from store.errors import DatasetError
from store.traces import TraceWriter
from tests.store.datasets.rows import KEPT, content, row
from tests.store.erasing.store import chat, erase

CANARY = "canary of the first trace"
MINE, OTHER = (chat(number, CANARY if number == 1 else "another question", "answer") for number in (1, 2))
EVALUATION = """
    INSERT INTO evaluations (evaluation_id, dataset, version, version_hash, test_hash, part, model, identity, settings,
        metrics, cost, latency, counts, created_at)
    VALUES ('e', 'set', 1, '', '', 'test', 'm', 'm', '{}', '{}', '{}', '{}', '{}', '');
"""
PREDICTION = """
    INSERT INTO predictions (evaluation_id, row_hash, row_id, target, conversation_id, answer, scores)
    VALUES ('e', ?, ?, 1, 'c', ?, '{}')
"""


def of_trace(number: int, trace: Any, said: str, **how: Any) -> Row:
    made = content(number, said, source_trace_id=str(trace.id), source_trace_ids=[str(trace.id)])
    return Row(made, how.get("part", Part.TEST), how.get("end", KEPT), how.get("sources", ()))


async def filled(data_dir: Path) -> list[bytes]:
    """Make versions that hold rows of both traces; give what must not be found anywhere afterwards."""
    mine = of_trace(1, MINE, CANARY)
    review = RowEnd(RowState.REVIEW, "relabel", "none_correct", {"votes": [{"answer": CANARY}]})
    history = Row(content(3, "later"), Part.TRAIN, review, (str(MINE.id), "traces.jsonl:1"))
    rows = [mine, of_trace(2, OTHER, "fine"), history, row(4)]
    async with await DatasetStore.open(data_dir / "work.db") as store:
        for _ in range(2):
            async with store.birth("set", birth=Birth.UPLOAD, manifest={}, freeze=True) as born:
                await born.add_rows(rows)
        async with store.birth("other", birth=Birth.UPLOAD, manifest={}, freeze=True) as born:
            await born.add_rows(rows[1:2])
        active = await store.open_version("set", birth=Birth.CURATE, manifest={})
        edited = [{"role": "assistant", "content": CANARY + " edited"}]
        await store.note_decision(
            Decision("set", mine.learned_hash, DecisionKind.EDIT, "ann", mine.row_id, CANARY + " noted", edited)
        )
        await store.note_decision(Decision("set", rows[1].learned_hash, DecisionKind.ACCEPT, "ann", note="stays"))
        await store.replace_rows(active, [of_trace(1, MINE, CANARY + " edited"), of_trace(4, MINE, CANARY)])
    with closing(sqlite3.connect(data_dir / "work.db")) as work:
        work.executescript(EVALUATION)
        for one in rows[:2]:
            work.execute(PREDICTION, (bytes.fromhex(one.row_hash), one.row_id, CANARY if one is mine else "fine"))
        work.commit()
        bodies = [
            body
            for (body,) in work.execute(
                "SELECT body FROM row_contents c JOIN row_sources USING (row_hash) WHERE trace = ?"
                " UNION ALL SELECT body FROM decision_texts JOIN decision_sources USING (decision) WHERE trace = ?",
                (str(MINE.id), str(MINE.id)),
            )
        ]
    assert len(bodies) == 5
    return [CANARY.encode(), *(body[20:-4] for body in bodies)]


def remains(data_dir: Path, wanted: list[bytes]) -> list[tuple[str, bytes]]:
    files = {path.name: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}
    return [(name, one) for name, held in files.items() for one in wanted if one in held]


def asked(data_dir: Path, sql: str) -> list[Any]:
    with closing(connect_sqlite(data_dir / "work.db", mode="ro")) as work:
        return work.execute(sql).fetchall()


@pytest.fixture
async def erased(tmp_path: Path) -> Path:
    """A data directory from which the first trace was erased."""
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([MINE, OTHER])
        wanted = await filled(tmp_path)
        assert {name for name, _ in remains(tmp_path, wanted)} >= {"work.db"}
        selector = Selector(SelectorKind.TRACES, str(MINE.id))
        with closing(connect_sqlite(tmp_path / "traces.db", mode="ro")) as traces:
            assert preview(traces, tmp_path, selector).datasets == ("set-v1", "set-v2", "set-v3")
        record = await erase(writer, "traces", str(MINE.id))
        assert record.result["datasets"] == ["set-v1", "set-v2", "set-v3"]
        # With the connections still open: the logs, too.
        assert remains(tmp_path, wanted) == []
    assert remains(tmp_path, wanted) == []
    return tmp_path


async def test_what_rows_of_an_erased_trace_held_is_gone_from_every_version_and_file(erased: Path) -> None:
    async with await DatasetStore.open_to_read(erased / "work.db") as store:
        for version in [*await store.versions("set"), *await store.versions("other")]:
            rows = [found async for found in store.rows(version)]
            assert CANARY not in str([(found.content, found.end) for found in rows])
            assert await store.row(version, "r_0000001") is None
        log = await store.decision_log("set")
        assert [(one.kind, one.note, one.messages, one.is_erased) for one in log] == [
            (DecisionKind.EDIT, None, None, True),
            (DecisionKind.ACCEPT, "stays", None, False),
        ]
    assert asked(erased, "SELECT answer FROM predictions") == [("fine",)]
    assert asked(erased, "SELECT erased FROM evaluations") == [(1,)]


async def test_frozen_versions_are_marked_and_still_what_their_hashes_say(erased: Path) -> None:
    async with await DatasetStore.open_to_read(erased / "work.db") as store:
        one, two, active = await store.versions("set")
        assert [version.erased for version in (one, two, active)] == [2, 2, 0]
        assert (one.hash, one.test_hash, one.counts.entered) == (two.hash, two.test_hash, 4)
        assert [found.row_id async for found in store.rows(one)] == ["r_0000002", "r_0000004"]
        checks, guards = await store.verify()
        assert guards == []
        assert {(check.label, check.rows, check.erased, check.problems) for check in checks} == {
            ("set-v1", 4, 2, 0),
            ("set-v2", 4, 2, 0),
            ("set-v3", 1, 0, 0),
            ("other-v1", 1, 0, 0),
        }


async def test_a_version_that_was_open_loses_the_rows_and_can_be_frozen(erased: Path) -> None:
    async with await DatasetStore.open(erased / "work.db") as store:
        active = await store.version("set-v3")
        assert (active.counts.entered, active.counts.kept) == (1, 1)
        frozen = await store.freeze(active)
        assert (frozen.erased, [found.row_id async for found in store.rows(frozen)]) == (0, ["r_0000002"])


async def test_the_next_version_is_made_without_the_erased_rows(erased: Path) -> None:
    async with await DatasetStore.open(erased / "work.db") as store:
        one = await store.version("set-v1")
        with pytest.raises(DatasetError, match="set-v3 is active"):
            await store.freeze_without_erased(one)
        await store.discard(await store.version("set-v3"))
        again = await store.freeze_without_erased(one)
        assert (again.label, again.birth, again.parent, again.erased) == ("set-v3", Birth.REBUILD, 1, 0)
        assert again.note == "v1 without 2 erased rows"
        assert again.manifest["rebuilt"] == {"from": "set-v1", "hash": one.hash, "left_out": 2}
        assert [found.row_id async for found in store.rows(again)] == ["r_0000002", "r_0000004"]
        with pytest.raises(DatasetError, match="nothing to leave out"):
            await store.freeze_without_erased(again)


async def test_an_erased_row_does_not_come_back(erased: Path) -> None:
    """Or whoever has the run's folder would undo the erasure."""
    async with await DatasetStore.open(erased / "work.db") as store:
        version = await store.version("set-v3")
        with pytest.raises(DatasetError, match="was erased with a trace"):
            await store.add_rows(version, [row(9), of_trace(1, MINE, CANARY)])
        assert await store.row(version, "r_0000009") is None
        await store.discard(version)
        grown = await store.open_version("set", birth=Birth.CURATE, manifest={})
        assert [found.row_id async for found in store.rows(grown)] == ["r_0000002", "r_0000004"]


async def test_nothing_else_is_deleted_from_a_frozen_version(erased: Path) -> None:
    with closing(sqlite3.connect(erased / "work.db")) as work:
        for sql in (
            "DELETE FROM row_contents",
            "UPDATE version_rows SET detail = NULL WHERE row_id = 'r_0000002' AND version = 1",
            "UPDATE version_rows SET detail = 'x' WHERE row_id = 'r_0000001' AND version = 1",
            "UPDATE version_rows SET detail = NULL, part = 'train' WHERE row_id = 'r_0000001' AND version = 1",
            "DELETE FROM version_rows WHERE row_id = 'r_0000001' AND version = 1",
            "DELETE FROM erased_rows",
            "UPDATE erased_rows SET change = 9",
            "DELETE FROM decision_texts",
            "DELETE FROM erased_decisions",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                work.execute(sql)
