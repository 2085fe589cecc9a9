"""What a job is filed with: a body for each kind, told apart by its `kind`."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, RootModel, Tag

from proxy.admin.shapes.shape import Id, JsonObject, Taken
from store.job_kind import JobKind

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
_Where = Annotated[
    str | None,
    Field(max_length=65536, description="Which traces of the store, in the [filter language](filter.md); all."),
]
_Label = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


_Dataset = Annotated[
    str, Field(min_length=1, max_length=120, description="Name of the dataset; `NAME-v3` insists on that version.")
]
_Model = Annotated[str, Field(min_length=1, max_length=500)]
_Add = Annotated[bool, Field(description="Add to the active version, or to the rows of the newest frozen one.")]
_Note = Annotated[_Label | None, Field(description="A few words that lists of versions show.")]
_Config = Annotated[
    JsonObject | None,
    Field(description="Where the models are asked: `models` of the [configuration](processing-config.md)."),
]
_FILED = [kind.value for kind in JobKind if kind is not JobKind.UPLOAD]


class _Taken(Taken):
    name: Annotated[_Label | None, Field(description="For a person.")] = None
    max_calls: _Calls = None
    max_cost: _Cost = None
    id: Annotated[
        Id | None, Field(description="Of the job, a UUIDv7: asked again under the same id, it is filed once.")
    ] = None


class ProcessTaken(_Taken):
    """Traces of the store become a dataset, as `tracemill process` makes it."""

    kind: Literal["process"] = "process"
    config: Annotated[JsonObject, Field(description="The [configuration](processing-config.md).")]
    job_description: Annotated[JsonObject, Field(description="The [job description](processing.md).")]
    where: _Where = None
    test: Annotated[
        list[JsonObject] | None, Field(min_length=1, description="Rows of a test set of your own; it is used as it is.")
    ] = None
    calibration: Annotated[
        list[JsonObject] | None,
        Field(min_length=1, description="Answers that people have judged, as `evaluation.calibration` names them."),
    ] = None


class GenerateTaken(_Taken):
    """A teacher answers prompts several times, a judge scores the answers, and the best become a version."""

    kind: Literal["generate"]
    dataset: _Dataset
    prompts: Annotated[
        list[str | JsonObject],
        Field(min_length=1, description="Prompts: texts, or objects as a file of prompts has them."),
    ]
    teacher: Annotated[_Model, Field(description="Answers the prompts.")]
    judge: Annotated[_Model | None, Field(description="Scores the answers; null: none.")] = None
    n_samples: Annotated[int, Field(ge=1, le=100, description="Answers to each prompt.")] = 4
    add: _Add = False
    note: _Note = None
    config: _Config = None


def _kind_of(body: Any) -> Any:  # noqa: ANN401 - whatever the body is
    """Tell by which shape a body is read; the kind that was there first needs no name."""
    if isinstance(body, dict):
        return body.get("kind", JobKind.PROCESS.value)
    return getattr(body, "kind", JobKind.PROCESS.value)


_Any = Annotated[
    Annotated[ProcessTaken, Tag("process")] | Annotated[GenerateTaken, Tag("generate")],
    Discriminator(
        _kind_of, custom_error_type="kind", custom_error_message=f"kind has to be one of {', '.join(_FILED)}"
    ),
]


class JobTaken(RootModel[_Any]):
    """What a job is to work on, and how; `kind` tells which shape it has."""


class ResumeTaken(Taken):
    """With which bounds a job goes on; what is left out or null stays as it was."""

    max_calls: _Calls = None
    max_cost: _Cost = None
