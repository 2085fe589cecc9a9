"""A run of the processor as `work.db` knows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

from store import json_text

_Json = Any


class JobStatus(StrEnum):
    """Where a job stands; the last three are final until it is run again."""

    NOT_STARTED = "JOB_NOT_STARTED"
    PENDING = "JOB_PENDING"
    RUNNING = "JOB_RUNNING"
    SUCCESS = "JOB_SUCCESS"
    FAILURE = "JOB_FAILURE"
    STOPPED = "JOB_STOPPED"


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


def _value(text: str | None) -> _Json:
    return None if text is None else json_text.loads(text.encode())
