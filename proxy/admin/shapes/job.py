"""Jobs, as the admin side gives them."""

from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.shape import Cursor, Given, Id, JsonObject, Time, one_of
from store.job import JobStatus
from store.job_folder import EventKind
from store.job_kind import JobKind


class Job(Given):
    """One piece of work of the processor, in a process of its own."""

    id: Id
    kind: Annotated[str, one_of(JobKind), Field(description="What it does.")]
    name: str
    status: Annotated[
        str,
        one_of(JobStatus),
        Field(description="`JOB_PENDING`: waits for its turn; `JOB_STOPPED`: was cancelled, or goes on later."),
    ]
    is_wanted: Annotated[
        bool, Field(description="Whether it is to go on by itself; false when it was cancelled or may buy no more.")
    ]
    error: Annotated[str | None, Field(description="Why it failed or stopped.")]
    filed_by: Annotated[str, Field(description="Whose token: `admin`, or `local` where none is needed.")]
    created_at: Time
    started_at: Annotated[Time | None, Field(description="Start of the latest attempt.")]
    ended_at: Time | None
    max_calls: Annotated[int | None, Field(description="Most calls that it may buy.")]
    max_cost: Annotated[float | None, Field(description="Most money that it may spend.")]
    calls: Annotated[int, Field(description="Calls that it has bought; those that were answered before cost nothing.")]
    cost: Annotated[float, Field(description="What those cost, as far as it is known.")]
    counts: Annotated[JsonObject | None, Field(description="Rows, funnel, calls and warnings; null before the end.")]
    base_model_performance: Annotated[JsonObject | None, Field(description="Scores; null where there are none.")]
    result: Annotated[
        JsonObject | None, Field(description="What came of it, such as `version`; null before the end, or for nothing.")
    ]
    erased_traces: Annotated[int | None, Field(description="How many of its traces were erased since; null: none.")]


class JobPage(Given):
    """Some jobs, the latest first."""

    data: list[Job]
    next_cursor: Cursor


class JobEvent(Given):
    """What happened to a job; the other members depend on the type."""

    id: Annotated[int, Field(description="Events after it are asked for by it.")]
    type: Annotated[str, one_of(EventKind), Field(description="Or `waiting`, where nothing has happened for 15 s.")]
    at: Time
