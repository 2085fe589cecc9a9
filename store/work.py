"""The working memory of processing, `work.db`: every teacher call ever paid for, and the jobs.

A call is keyed by the content of its request, so the same question is never bought twice, whichever run asks it. It is
committed before its answer is used: a run that is killed and started again finds all it had paid for.
"""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import aiosqlite

from store import json_text
from store.call import Call, Verdict, insertion
from store.call_lock import CallLocks
from store.connection import run
from store.database import WORK, open_reader, open_reader_now, open_writer, store_error
from store.group_commit import GroupCommit, Statement
from store.job import JOB_COLUMNS, Erased, Job, JobStatus, job_of
from store.uuid7 import uuid7


class WorkStore:
    """An open `work.db`; several processes may hold one and write in turn.

    Usage:
        async with await WorkStore.open(path) as work: ...
    """

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._writing = GroupCommit(connection, path)
        self._looking: sqlite3.Connection | None = None
        self._locks = CallLocks(path)

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open to read and write, making the file first when there is none."""
        return cls(await open_writer(path, WORK, keep_lock=False), path)

    @classmethod
    async def open_to_read(cls, path: Path) -> Self:
        """Open to read only.

        Raises:
            DatabaseMissingError: There is no such file yet.
        """
        return cls(await open_reader(path, WORK), path)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._writing.close()
        if self._looking is not None:
            self._looking.close()
        self._locks.close()
        await self._connection.close()

    async def call(self, key: bytes) -> Call | None:
        """Look a call up."""
        columns = ", ".join(field.name for field in fields(Call))
        row = self._look(f"SELECT {columns} FROM calls WHERE key = :key", {"key": key})  # noqa: S608 - our names
        if row is None:
            return None
        key_, purpose, model, base_url, request, reply, usage, cost, attempts, error, duration_ms = row
        return Call(
            key=key_,
            purpose=purpose,
            model=model,
            base_url=base_url,
            request=request.encode(),
            reply=None if reply is None else reply.encode(),
            usage=None if usage is None else usage.encode(),
            cost=cost,
            attempts=attempts,
            error=error,
            duration_ms=duration_ms,
        )

    def asking(self, key: bytes) -> AbstractAsyncContextManager[None]:
        """Have a question for oneself while its answer is bought.

        Whoever asks the same meanwhile, here or in another process, waits and then finds the answer.
        """
        return self._locks.held(key)

    async def completion_tokens(self) -> dict[tuple[str, str], float]:
        """Give the mean length of the answers so far, by purpose and model; none where no usage was reported."""
        sql = (
            "SELECT purpose, model, avg(json_extract(usage, '$.completion_tokens')) FROM calls"
            " WHERE json_type(usage, '$.completion_tokens') = 'integer' GROUP BY purpose, model"
        )
        try:
            rows = await self._connection.execute_fetchall(sql)
        except sqlite3.Error as exc:
            raise store_error(exc, self._path) from exc
        return {(purpose, model): mean for purpose, model, mean in rows}

    async def add_call(self, call: Call) -> None:
        """Commit a call; one that is there already stays as it is."""
        await self._commit_together(insertion(call))

    async def verdicts(self, keys: Sequence[bytes]) -> dict[bytes, Verdict]:
        """Look verdicts up; keys without one are left out."""
        found: dict[bytes, Verdict] = {}
        for key in keys:
            row = self._look("SELECT verdict, call_key FROM verdicts WHERE key = :key", {"key": key})
            if row is not None:
                found[key] = Verdict(json_text.loads(row[0].encode()), row[1])
        return found

    async def add_verdicts(self, verdicts: Mapping[bytes, Any], call_key: bytes) -> None:
        """Commit what one call said of several examples, all or none."""
        await self._commit(
            "INSERT INTO verdicts (key, verdict, call_key) VALUES (:key, :verdict, :call_key)"
            " ON CONFLICT (key) DO NOTHING",
            [
                {"key": key, "verdict": json_text.dumps(verdict).decode(), "call_key": call_key}
                for key, verdict in verdicts.items()
            ],
        )

    async def start_job(self, out_dir: Path, *, name: str, config: Mapping[str, Any]) -> Job:
        """Record that a run into `out_dir` has started; a run into the same folder keeps its id and name."""
        await self._commit(
            "INSERT INTO jobs (run_id, name, out_dir, status, config, created_at, started_at)"
            " VALUES (:run_id, :name, :out_dir, :status, :config, :now, :now)"
            " ON CONFLICT (out_dir) DO UPDATE SET status = excluded.status, config = excluded.config,"
            " started_at = excluded.started_at, ended_at = NULL, error = NULL, counts = NULL,"
            " base_model_performance = NULL",
            [
                {
                    "run_id": str(uuid7()),
                    "name": name,
                    "out_dir": _absolute(out_dir),
                    "status": JobStatus.RUNNING,
                    "config": json_text.dumps(config).decode(),
                    "now": _now(),
                }
            ],
        )
        job = await self.job(_absolute(out_dir))
        if job is None:
            raise AssertionError("a job that was just written is not there")
        return job

    async def end_job(
        self,
        run_id: str,
        status: JobStatus,
        *,
        counts: Mapping[str, Any] | None = None,
        base_model_performance: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Record how a run ended."""
        await self._commit(
            "UPDATE jobs SET status = :status, counts = :counts, base_model_performance = :performance,"
            " error = :error, ended_at = :now WHERE run_id = :run_id",
            [
                {
                    "run_id": run_id,
                    "status": status,
                    "counts": _text(counts),
                    "performance": _text(base_model_performance),
                    "error": error,
                    "now": _now(),
                }
            ],
        )

    async def add_call_sources(self, key: bytes, trace_ids: Collection[UUID]) -> None:
        """Note which stored traces a call is about, before it is made; what is noted already costs a look."""
        if not trace_ids:
            return
        (count,) = self._look("SELECT count(*) FROM call_sources WHERE call_key = :key", {"key": key})
        if count < len(trace_ids):
            await self._commit(
                "INSERT OR IGNORE INTO call_sources (call_key, trace_id) VALUES (:key, :trace_id)",
                [{"key": key, "trace_id": id_.bytes} for id_ in sorted(trace_ids)],
            )

    async def set_run_sources(self, run_id: str, trace_ids: Collection[UUID]) -> None:
        """Note which stored traces a run is made from, in place of those of its earlier attempt."""
        await self._commit("DELETE FROM run_sources WHERE run_id = :run_id", [{"run_id": run_id}])
        if trace_ids:
            await self._commit(
                "INSERT OR IGNORE INTO run_sources (run_id, trace_id) VALUES (:run_id, :trace_id)",
                [{"run_id": run_id, "trace_id": id_.bytes} for id_ in sorted(trace_ids)],
            )

    async def erased_since_start(self, run: Job) -> Erased | None:
        """Tell what was erased of a run while it ran, and forget what was erased before: it read none of that."""
        await self._commit(
            "DELETE FROM run_erasures WHERE run_id = :run_id AND erased_at < :started_at",
            [{"run_id": run.run_id, "started_at": run.started_at}],
        )
        return await self.erased(run.run_id)

    async def erased(self, run_id: str) -> Erased | None:
        """Tell what was erased of the traces that a run's files were made from; None for nothing."""
        row = await self._row("SELECT traces, erased_at FROM run_erasures WHERE run_id = :run_id", {"run_id": run_id})
        return None if row is None else Erased(*row)

    async def job(self, run: str) -> Job | None:
        """Find a job by run id, by folder, or by name (the latest of that name)."""
        row = await self._row(
            f"SELECT {JOB_COLUMNS} FROM jobs j WHERE run_id = :run OR out_dir = :folder OR name = :run"  # noqa: S608 - our names
            " ORDER BY run_id = :run DESC, out_dir = :folder DESC, created_at DESC LIMIT 1",
            {"run": run, "folder": _absolute(run)},
        )
        return None if row is None else job_of(row)

    def _look(self, sql: str, parameters: Mapping[str, Any]) -> Any:  # noqa: ANN401 - columns of any type
        """Look one row up by its key, on the spot: some 10 µs, where the way to another thread costs ten times that.

        A connection of its own, since the other's may be in the midst of a transaction.
        """
        try:
            if self._looking is None:
                self._looking = open_reader_now(self._path, WORK)
            return self._looking.execute(sql, parameters).fetchone()
        except sqlite3.Error as exc:
            raise store_error(exc, self._path) from exc

    async def _row(self, sql: str, parameters: Mapping[str, Any]) -> Any:  # noqa: ANN401 - columns of any type
        try:
            return await run(self._connection, lambda db: db.execute(sql, parameters).fetchone())
        except sqlite3.Error as exc:
            raise store_error(exc, self._path) from exc

    async def _rows(self, sql: str, parameters: Mapping[str, Any]) -> list[Any]:
        try:
            return await run(self._connection, lambda db: db.execute(sql, parameters).fetchall())
        except sqlite3.Error as exc:
            raise store_error(exc, self._path) from exc

    async def _commit(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows; see `_commit_together`."""
        await self._commit_together(Statement(sql, rows))

    async def _commit_together(self, *statements: Statement) -> None:
        """Write rows in one transaction, to the end even when the caller is cancelled: the answer is paid for."""
        await self._writing.write(*statements)


def _absolute(path: str | Path) -> str:
    return str(Path(path).resolve())


def _text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json_text.dumps(value).decode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
