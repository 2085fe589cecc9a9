"""The working memory of processing, `work.db`: every teacher call ever paid for, and the jobs.

A call is keyed by the content of its request, so the same question is never bought twice, whichever run asks it. It is
committed before its answer is used: a run that is killed and started again finds all it had paid for.
"""

import asyncio
import hashlib
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import UUID

import aiosqlite

from store import json_text
from store.connection import run, transaction_now
from store.database import WORK, open_reader, open_reader_now, open_writer, store_error, write_lock
from store.errors import StoreError
from store.uuid7 import uuid7

_Json = Any
_KEY_BYTES = 20
_KEY_VERSION = b"tracemill-call-1"


class JobStatus(StrEnum):
    """Where a job stands; the last three are final until it is run again."""

    NOT_STARTED = "JOB_NOT_STARTED"
    PENDING = "JOB_PENDING"
    RUNNING = "JOB_RUNNING"
    SUCCESS = "JOB_SUCCESS"
    FAILURE = "JOB_FAILURE"
    STOPPED = "JOB_STOPPED"


@dataclass(frozen=True, slots=True)
class Call:
    """A teacher call that has ended.

    Attributes:
        key: From `call_key`.
        purpose: The step that asked first.
        model: Name in the configuration.
        base_url: Where it was asked, without credentials.
        request: Request body as JSON text.
        reply: The completion as JSON text; None when the upstream gave none.
        usage: As reported, JSON text; None when it was not.
        cost: None when price or usage is unknown.
        attempts: Requests sent, waits that the upstream asked for apart.
        error: Why the reply is no answer; None for an answer.
        duration_ms: From sending the attempt that was answered to its last byte; None when that was not measured.
    """

    key: bytes
    purpose: str
    model: str
    base_url: str
    request: bytes
    reply: bytes | None
    usage: bytes | None
    cost: float | None
    attempts: int
    error: str | None = None
    duration_ms: float | None = None


class Verdict(NamedTuple):
    """What a call said of one example among several.

    Attributes:
        value: As the judging step stored it.
        call_key: The call that said it.
    """

    value: _Json
    call_key: bytes


class Erased(NamedTuple):
    """What was erased of the traces that a run's files were made from.

    Attributes:
        erased_at: When the last of them was; UTC, RFC 3339.
    """

    traces: int
    erased_at: str


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the processor into one folder.

    Attributes:
        run_id: UUIDv7 as text.
        name: Name for a person, by default the folder's.
        out_dir: Absolute path of the folder.
        status: Where it stands.
        config: The effective configuration.
        counts: Funnel and calls; None before the end.
        base_model_performance: Metric to score; None when not computed.
        error: Why it failed or stopped.
        created_at: UTC, RFC 3339; the same for the other two times.
        started_at: Start of the latest attempt.
        ended_at: None while it runs.
    """

    run_id: str
    name: str
    out_dir: str
    status: JobStatus
    config: Mapping[str, Any]
    counts: Mapping[str, Any] | None = None
    base_model_performance: Mapping[str, Any] | None = None
    error: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None


JOB_COLUMNS = ", ".join(f"j.{field.name}" for field in fields(Job))
"""What `job_of` takes, of the table `jobs` under the name `j`."""


def job_of(row: Sequence[Any]) -> Job:
    """Make a job of the columns of its row."""
    run_id, name, out_dir, status, config, counts, performance, error, created_at, started_at, ended_at = row
    return Job(
        run_id=run_id,
        name=name,
        out_dir=out_dir,
        status=JobStatus(status),
        config=json_text.loads(config.encode()),
        counts=_value(counts),
        base_model_performance=_value(performance),
        error=error,
        created_at=created_at,
        started_at=started_at,
        ended_at=ended_at,
    )


def call_key(*, base_url: str, body: Mapping[str, Any], attempt: int = 0) -> bytes:
    """Derive the key of a call from everything that decides its answer.

    Args:
        base_url: Where it is asked, without credentials.
        body: The whole request body: model, messages and every parameter.
        attempt: Tells repeated draws of one request apart.
    """
    return content_key(base_url, body, attempt)


def content_key(*parts: _Json) -> bytes:
    """Hash JSON values to a key; the order of an object's fields does not matter."""
    text = json_text.dumps(_sorted(list(parts)))
    return hashlib.blake2b(text, digest_size=_KEY_BYTES, key=_KEY_VERSION).digest()


def _sorted(value: _Json) -> _Json:
    if isinstance(value, Mapping):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value


class WorkStore:
    """An open `work.db`; several processes may hold one and write in turn.

    Usage:
        async with await WorkStore.open(path) as work: ...
    """

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._pending: list[_Pending] = []
        self._writer: asyncio.Task[None] | None = None
        self._looking: sqlite3.Connection | None = None

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
        if self._writer is not None:
            await self._writer
        if self._looking is not None:
            self._looking.close()
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

    async def _commit_together(self, *statements: "Statement") -> None:
        """Write rows in one transaction, to the end even when the caller is cancelled: the answer is paid for.

        What is asked for while a transaction is under way goes into the next one together, since each is flushed to
        the disk: else answers that come fast would wait in line to be kept, and be lost with the process.
        """
        pending = _Pending(statements, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_pending(), name="write work.db")
        await pending.written

    async def _write_pending(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                await self._write(batch)
            except StoreError as exc:
                # Each by itself, so that what cannot be written costs nothing else.
                for pending in batch:
                    await self._write_alone(pending, exc if len(batch) == 1 else None)
            else:
                for pending in batch:
                    pending.end()

    async def _write_alone(self, pending: "_Pending", error: StoreError | None) -> None:
        if error is None:
            try:
                await self._write([pending])
            except StoreError as exc:
                error = exc
        pending.end(error)

    async def _write(self, batch: "Sequence[_Pending]") -> None:
        """Write in one transaction. Raises StoreError when nothing of it was written."""
        try:
            await run(self._connection, partial(_write_all, batch, self._path))
        except sqlite3.Error as exc:
            raise store_error(exc, self._path) from exc


def _write_all(batch: "Sequence[_Pending]", path: Path, db: sqlite3.Connection) -> None:
    with write_lock(path), transaction_now(db):
        for pending in batch:
            for statement in pending.statements:
                db.executemany(*statement)


class Statement(NamedTuple):
    """Rows to be written in one way."""

    sql: str
    rows: Sequence[Mapping[str, Any]]


def insertion(call: Call) -> Statement:
    """Give what writes a call, unless one of its key is there."""
    return Statement(
        "INSERT INTO calls (key, purpose, model, base_url, request, reply, usage, cost, attempts, created_at, error,"
        " duration_ms) VALUES (:key, :purpose, :model, :base_url, :request, :reply, :usage, :cost, :attempts,"
        " :created_at, :error, :duration_ms)"
        " ON CONFLICT (key) DO NOTHING",
        [
            {
                "key": call.key,
                "purpose": call.purpose,
                "model": call.model,
                "base_url": call.base_url,
                "request": call.request.decode(),
                "reply": None if call.reply is None else call.reply.decode(),
                "usage": None if call.usage is None else call.usage.decode(),
                "cost": call.cost,
                "attempts": call.attempts,
                "created_at": _now(),
                "error": call.error,
                "duration_ms": call.duration_ms,
            }
        ],
    )


class _Pending(NamedTuple):
    """What is to be written all or not at all, and who waits for it."""

    statements: Sequence[Statement]
    written: asyncio.Future[None]

    def end(self, error: StoreError | None = None) -> None:
        """Tell whoever waits, if anybody still does."""
        if self.written.done():
            return
        if error is None:
            self.written.set_result(None)
        else:
            self.written.set_exception(error)


def _absolute(path: str | Path) -> str:
    return str(Path(path).resolve())


def _text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json_text.dumps(value).decode()


def _value(text: str | None) -> _Json:
    return None if text is None else json_text.loads(text.encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
