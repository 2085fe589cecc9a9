"""Jobs, as the admin side takes and gives them."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.shape import Cursor, Given, Id, Json, Taken, Time, one_of
from store.job_folder import EventKind
from store.work import JobStatus

_Calls = Annotated[
    int | None,
    Field(
        ge=0, le=2**53, description="Most calls of models that it may buy, all its attempts together; null: no bound."
    ),
]
_Cost = Annotated[
    float | None,
    Field(
        ge=0,
        allow_inf_nan=False,
        description="Most money that it may spend, all its attempts together, in the currency of the prices.",
    ),
]
_Object = dict[str, Json]


class JobTaken(Taken):
    """What a job is to work on, and how."""

    config: Annotated[_Object, Field(description="The [configuration](processing-config.md).")]
    job_description: Annotated[_Object, Field(description="The [job description](processing.md).")]
    where: Annotated[
        str | None,
        Field(max_length=65536, description="Which traces of the store, in the [filter language](filter.md); all."),
    ] = None
    test: Annotated[
        list[_Object] | None, Field(min_length=1, description="Rows of a test set of your own; it is used as it is.")
    ] = None
    name: Annotated[
        str | None, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", description="For a person.")
    ] = None
    max_calls: _Calls = None
    max_cost: _Cost = None
    id: Annotated[
        Id | None, Field(description="Of the job, a UUIDv7: asked again under the same id, it is filed once.")
    ] = None


class ResumeTaken(Taken):
    """With which bounds a job goes on; what is left out or null stays as it was."""

    max_calls: _Calls = None
    max_cost: _Cost = None


class Job(Given):
    """One run of the processor, in a process of its own."""

    id: Id
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
    counts: Annotated[_Object | None, Field(description="Rows, funnel, calls and warnings; null before the end.")]
    base_model_performance: Annotated[_Object | None, Field(description="Scores; null where there are none.")]
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


class JobPart(StrEnum):
    """The files of lines that a job makes."""

    TRAIN = "train"
    TEST = "test"
    UNSTRUCTURED = "unstructured"
    DROPPED = "dropped"
    FAILED = "failed"
    REVIEW = "review"
    REJECTED = "rejected"
