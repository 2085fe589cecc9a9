"""Jobs that were filed with a server: what of them stands in `work.db`, and who may change it when.

A job has its row in `jobs` like any run, and one in `filed_jobs`. Whether it is to run is told by the two together:

- `is_wanted` and no end yet: it is to run, now or when there is room. That holds for one whose process was killed, and
  for one that a server stopped with itself.
- not `is_wanted`: it was cancelled, has used up its budget, or died too often. It rests until it is resumed.

The process that runs a job holds the lock of its folder (`store.job_folder`); who wants to write about a job that rests
takes that lock first, so that no two write about one job at a time. `cancel` alone needs no lock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from store import json_text
from store.call import Call, insertion
from store.group_commit import Statement
from store.job import JOB_COLUMNS, Erased, Job, JobStatus, job_of
from store.job_kind import JobKind
from store.work import WorkStore

_COLUMNS = f"""{JOB_COLUMNS}, f.filed_by, f.request, f.max_calls, f.max_cost, f.is_wanted, f.starts, f.calls, f.cost,
    f.kind, f.result, e.traces, e.erased_at"""
_FROM = "filed_jobs f JOIN jobs j USING (run_id) LEFT JOIN run_erasures e USING (run_id)"
_JOB_FIELDS: Final = fields(Job)
_ENDED: Final = frozenset({JobStatus.SUCCESS, JobStatus.FAILURE})


class Bounds(NamedTuple):
    """The most that all attempts of a job may buy together.

    Attributes:
        max_calls: Calls; None for no bound.
        max_cost: Money in the currency of the configured prices; None for no bound.
    """

    max_calls: int | None = None
    max_cost: float | None = None


@dataclass(frozen=True, slots=True)
class FiledJob:
    """A job that was filed with a server.

    Attributes:
        job: What holds for any run.
        filed_by: Whose token: `admin`, or `local` where none is needed.
        request: Hash of what was asked.
        bounds: What it may buy.
        is_wanted: Whether it is to go on until it has ended.
        starts: Since it last came to an end in order; more than one tells that its process died.
        calls: Bought so far.
        cost: Of them, as far as it is known.
        kind: What it does.
        result: What came of it, such as the version of a dataset that it made; None before its end, or for nothing.
        erased: What was erased of its traces since.
    """

    job: Job
    filed_by: str
    request: str
    bounds: Bounds
    is_wanted: bool
    starts: int
    calls: int
    cost: float
    kind: JobKind
    result: Mapping[str, Any] | None
    erased: Erased | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing will come of it any more, unless it is resumed."""
        return self.job.status in _ENDED or (not self.is_wanted and self.job.status is JobStatus.STOPPED)

    @property
    def left(self) -> Bounds:
        """What it may still buy."""
        calls, cost = self.bounds
        return Bounds(
            None if calls is None else max(calls - self.calls, 0), None if cost is None else max(cost - self.cost, 0.0)
        )


class FiledJobs(WorkStore):
    """`work.db` as those see it who file, run and look at filed jobs."""

    async def file(
        self,
        run_id: str,
        out_dir: Path,
        *,
        name: str,
        config: Mapping[str, Any],
        filed_by: str,
        request: str,
        bounds: Bounds,
        kind: JobKind = JobKind.PROCESS,
    ) -> FiledJob:
        """File a job; one of that id stays as it is, and is given back."""
        filed = {"run_id": run_id, "filed_by": filed_by, "request": request, "kind": kind, **bounds._asdict()}
        await self._commit(
            "INSERT OR IGNORE INTO filed_jobs"
            " (run_id, filed_by, request, max_calls, max_cost, is_wanted, starts, calls, cost, kind)"
            " VALUES (:run_id, :filed_by, :request, :max_calls, :max_cost, 1, 0, 0, 0, :kind)",
            [filed],
        )
        await self._commit(
            "INSERT OR IGNORE INTO jobs (run_id, name, out_dir, status, config, created_at)"
            " VALUES (:run_id, :name, :out_dir, :status, :config, :now)",
            [
                {
                    "run_id": run_id,
                    "name": name,
                    "out_dir": _absolute(out_dir),
                    "status": JobStatus.PENDING,
                    "config": json_text.dumps(config).decode(),
                    "now": _now(),
                }
            ],
        )
        return await self._surely(run_id)

    async def filed(self, run_id: str) -> FiledJob | None:
        """Find a filed job."""
        row = await self._row(f"SELECT {_COLUMNS} FROM {_FROM} WHERE run_id = :run_id", {"run_id": run_id})  # noqa: S608 - our names
        return None if row is None else _filed(row)

    async def page(self, before: str | None, limit: int) -> list[FiledJob]:
        """Give filed jobs, the latest first, from the one after the id `before`."""
        sql = f"SELECT {_COLUMNS} FROM {_FROM} WHERE run_id < :before ORDER BY run_id DESC LIMIT :limit"  # noqa: S608
        # No UUID comes after it.
        return [_filed(row) for row in await self._rows(sql, {"before": before or "g", "limit": limit})]

    async def unsettled(self) -> list[FiledJob]:
        """Give the jobs that are to run, run, or were cancelled and do not stand as stopped; the earliest first."""
        sql = (
            f"SELECT {_COLUMNS} FROM {_FROM} WHERE j.status IN (:pending, :running)"  # noqa: S608
            " OR (j.status = :stopped AND f.is_wanted) ORDER BY run_id"
        )
        statuses = {"pending": JobStatus.PENDING, "running": JobStatus.RUNNING, "stopped": JobStatus.STOPPED}
        return [_filed(row) for row in await self._rows(sql, statuses)]

    async def count(self) -> dict[tuple[str, str], int]:
        """Count the filed jobs by kind and status."""
        sql = "SELECT f.kind, j.status, count(*) FROM filed_jobs f JOIN jobs j USING (run_id) GROUP BY 1, 2"
        return {(kind, status): count for kind, status, count in await self._rows(sql, {})}

    async def delete(self, run_id: str) -> None:
        """Forget a job. What it bought stays in the table of calls, and what it made of a dataset is kept."""
        row = [{"run_id": run_id}]
        await self._commit_together(
            *(
                Statement(f"DELETE FROM {table} WHERE run_id = :run_id", row)  # noqa: S608 - our names
                for table in ("filed_jobs", "jobs", "run_sources", "run_erasures")
            )
        )

    async def cancel(self, run_id: str) -> FiledJob:
        """Let a job go on no more. The process that runs it is for its runner to stop."""
        await self._commit("UPDATE filed_jobs SET is_wanted = 0 WHERE run_id = :run_id", [{"run_id": run_id}])
        return await self._surely(run_id)

    async def rest(self, run_id: str, error: str) -> None:
        """Put a job to rest that no process runs, or that ends its run; it goes on if it is still wanted."""
        await self.end_job(run_id, JobStatus.STOPPED, error=error)

    async def give_up(self, run_id: str, error: str) -> None:
        """Put a job to rest that will not go on by itself."""
        await self.cancel(run_id)
        await self.rest(run_id, error)

    async def resume(self, run_id: str, bounds: Bounds) -> FiledJob:
        """Have a job that rests or failed run again.

        Args:
            run_id: Of the job.
            bounds: What it may buy, all its attempts together; what is None stays as it was.
        """
        await self._commit(
            "UPDATE filed_jobs SET is_wanted = 1, starts = 0, max_calls = coalesce(:max_calls, max_calls),"
            " max_cost = coalesce(:max_cost, max_cost) WHERE run_id = :run_id",
            [{"run_id": run_id, **bounds._asdict()}],
        )
        await self._commit(
            "UPDATE jobs SET status = :pending, error = NULL, ended_at = NULL WHERE run_id = :run_id"
            " AND status IN (:stopped, :failure)",
            [
                {
                    "run_id": run_id,
                    "pending": JobStatus.PENDING,
                    "stopped": JobStatus.STOPPED,
                    "failure": JobStatus.FAILURE,
                }
            ],
        )
        return await self._surely(run_id)

    async def note_start(self, run_id: str, out_dir: Path) -> None:
        """Note that a process is started for a job, and where its dataset goes: the data directory may have moved."""
        await self._commit("UPDATE filed_jobs SET starts = starts + 1 WHERE run_id = :run_id", [{"run_id": run_id}])
        await self._commit(
            "UPDATE jobs SET out_dir = :out_dir WHERE run_id = :run_id",
            [{"run_id": run_id, "out_dir": _absolute(out_dir)}],
        )

    async def note_death(self, run_id: str) -> None:
        """Note that the process of a job died and that it waits for its next."""
        await self._commit(
            "UPDATE jobs SET status = :status WHERE run_id = :run_id", [{"run_id": run_id, "status": JobStatus.PENDING}]
        )

    async def note_end(self, run_id: str) -> None:
        """Note that the process of a job came to its end in order."""
        await self._commit("UPDATE filed_jobs SET starts = 0 WHERE run_id = :run_id", [{"run_id": run_id}])

    async def _surely(self, run_id: str) -> FiledJob:
        found = await self.filed(run_id)
        if found is None:
            raise AssertionError("a job that was just written is not there")
        return found


class OneFiledJob(FiledJobs):
    """`work.db` as the process of a job sees it: what it buys is counted for the job, whose `run_id` is to be set."""

    run_id = ""
    _good_end: Mapping[str, Any] = {}

    async def end_job(
        self,
        run_id: str,
        status: JobStatus,
        *,
        counts: Mapping[str, Any] | None = None,
        base_model_performance: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Record how the run ended; a good end waits for `succeed`, since there may be more to do."""
        if status is JobStatus.SUCCESS:
            self._good_end = {"counts": counts, "base_model_performance": base_model_performance}
        else:
            await super().end_job(
                run_id, status, counts=counts, base_model_performance=base_model_performance, error=error
            )

    async def succeed(self, result: Mapping[str, Any] | None) -> None:
        """Record that all is done, and what came of it."""
        written = None if result is None else json_text.dumps(result).decode()
        await self._commit(
            "UPDATE filed_jobs SET result = :result WHERE run_id = :run_id",
            [{"run_id": self.run_id, "result": written}],
        )
        await super().end_job(self.run_id, JobStatus.SUCCESS, **self._good_end)

    async def add_call(self, call: Call) -> None:
        """Commit a call that was bought, and count it in the same transaction."""
        await self._commit_together(insertion(call), bought(self.run_id, call))


def bought(run_id: str, call: Call) -> Statement:
    """Give what counts a call for the job that bought it, to be written together with the call."""
    cost = call.cost if call.cost is not None and math.isfinite(call.cost) else 0.0
    return Statement(
        "UPDATE filed_jobs SET calls = calls + 1, cost = cost + :cost WHERE run_id = :run_id",
        [{"run_id": run_id, "cost": cost}],
    )


def _filed(row: tuple[Any, ...]) -> FiledJob:
    job, rest = row[: len(_JOB_FIELDS)], row[len(_JOB_FIELDS) :]
    filed_by, request, max_calls, max_cost, is_wanted, starts, calls, cost, kind, result, traces, erased_at = rest
    return FiledJob(
        job=job_of(job),
        filed_by=filed_by,
        request=request,
        bounds=Bounds(max_calls, max_cost),
        is_wanted=bool(is_wanted),
        starts=starts,
        calls=calls,
        cost=cost,
        kind=JobKind(kind),
        result=None if result is None else json_text.loads(result.encode()),
        erased=None if traces is None else Erased(traces, erased_at),
    )


def _absolute(path: Path) -> str:
    return str(path.resolve())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
