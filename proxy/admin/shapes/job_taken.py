"""What a job is filed with: a body for each kind, told apart by its `kind`."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, RootModel, Tag

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
_Version = Annotated[
    str,
    Field(
        min_length=1,
        max_length=120,
        description="`NAME-v3`, or `NAME` for the open version, or the newest where none is; evaluations take the "
        "newest frozen one.",
    ),
]
_Score = Annotated[float, Field(ge=0, le=1)]
_Model = Annotated[str, Field(min_length=1, max_length=500)]
_Add = Annotated[bool, Field(description="Add to the active version, or to the rows of the newest frozen one.")]
_Note = Annotated[_Label | None, Field(description="A few words that lists of versions show.")]
_Config = Annotated[
    JsonObject | None,
    Field(description="Where the models are asked: `models` of the [configuration](processing-config.md)."),
]
_FILED = [kind.value for kind in JobKind if kind is not JobKind.UPLOAD]


class GenerateKeep(StrEnum):
    """Which answers to a prompt may become rows."""

    BEST = "best"
    ALL = "all"


class PersonalHandling(StrEnum):
    """What becomes of rows with personal data."""

    KEEP = "keep"
    REVIEW = "review"
    DROP = "drop"


class DuplicatesDropped(StrEnum):
    """Which duplicates go."""

    KEEP = "keep"
    EXACT = "exact"
    NEAR = "near"


class EvaluatedPart(StrEnum):
    """Which rows are asked."""

    TEST = "test"
    TRAIN = "train"
    ALL = "all"


class EvaluationSuite(StrEnum):
    """What kind of answers are scored."""

    AUTO = "auto"
    CLASSIFICATION = "classification"
    TOOL = "tool"
    TEXT = "text"


class _Taken(Taken):
    model_config = ConfigDict(strict=True)

    name: Annotated[_Label | None, Field(description="For a person.")] = None
    max_calls: _Calls = None
    max_cost: _Cost = None
    id: Annotated[
        Id | None, Field(description="Of the job, a UUIDv7: asked again under the same id, it is filed once.")
    ] = None


class ProcessTaken(_Taken):
    """Traces of the store become a dataset, as `tracemill process` makes it."""

    # As it was before there were other kinds: what was sent then is taken still.
    model_config = ConfigDict(strict=False)

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
    dataset: Annotated[
        _Dataset | None, Field(description="What was made becomes the next version of this dataset, frozen at once.")
    ] = None
    note: _Note = None


class PromptsFile(Taken):
    """A file of prompts, as its reader has it."""

    name: Annotated[str, Field(pattern=r"^[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,99}$", description="Tells what it is.")]
    text: str


class GenerateTaken(_Taken):
    """A teacher answers prompts several times, a judge scores the answers, and the best become a version."""

    kind: Literal["generate"]
    dataset: _Dataset
    prompts: Annotated[
        list[str | JsonObject] | PromptsFile,
        Field(description="Prompts, as texts or as the [lines of a file](uploading.md) have them; or such a file."),
    ]
    teacher: Annotated[_Model, Field(description="Answers the prompts.")]
    judge: Annotated[_Model, Field(description="Scores the answers.")]
    n_samples: Annotated[int, Field(ge=1, description="Answers to each prompt.")] = 4
    threshold: Annotated[_Score | None, Field(description="Least score of an answer that becomes a row; 0.7.")] = None
    temperature: Annotated[float | None, Field(ge=0, le=2, description="Of the teacher.")] = None
    keep: Annotated[GenerateKeep, Field(description="The best answer to a prompt, or all good ones.")] = (
        GenerateKeep.BEST
    )
    system: Annotated[str | None, Field(description="System prompt for prompts without one.")] = None
    tools: Annotated[list[JsonObject] | None, Field(description="Tools for prompts without any.")] = None
    response_format: Annotated[JsonObject | None, Field(description="For prompts without one.")] = None
    task: Annotated[str | None, Field(description="The task in words, for the judge.")] = None
    criteria: Annotated[str | None, Field(description="What else the judge looks at.")] = None
    add: _Add = False
    note: _Note = None
    config: _Config = None


class JudgeTaken(_Taken):
    """A judge scores the rows of a version, and those below a threshold are dropped; a threshold alone asks nobody."""

    kind: Literal["judge"]
    version: _Version
    model: Annotated[_Model | None, Field(description="The judge; that of the last time, else a cheap one.")] = None
    threshold: Annotated[_Score | None, Field(description="Least score that stays; that of the last time, or 0.7.")] = (
        None
    )
    task: Annotated[str | None, Field(description="The task in words; that of the last time.")] = None
    criteria: Annotated[str | None, Field(description="What else to look at; that of the last time.")] = None
    config: _Config = None


class FilterTaken(_Taken):
    """Rows of a version are dropped by rules; those of the last time no longer hold."""

    kind: Literal["filter"]
    version: _Version
    min_score: Annotated[_Score | None, Field(description="Least judge's score; rows without a score stay.")] = None
    max_chars: Annotated[int | None, Field(ge=0, description="Most characters of a row.")] = None
    min_chars: Annotated[int | None, Field(ge=0, description="Fewest.")] = None
    drop_errors: Annotated[bool, Field(description="Drop failed, cut, empty and invalid answers, and refusals.")] = True
    valid_json: Annotated[bool, Field(description="Drop answers that are not JSON.")] = False
    clusters: Annotated[list[str] | None, Field(min_length=1, description="Only rows of these clusters.")] = None
    where: Annotated[
        dict[str, str], Field(default_factory=dict, description="Only rows whose metadata have these values.")
    ]
    pii: Annotated[PersonalHandling, Field(description="What becomes of rows with personal data or secrets.")] = (
        PersonalHandling.KEEP
    )
    duplicates: Annotated[DuplicatesDropped, Field(description="Which duplicates go; `keep`: none.")] = (
        DuplicatesDropped.EXACT
    )


class SplitTaken(_Taken):
    """The rows of a version are shared out between train and test; conversations and near duplicates never part."""

    kind: Literal["split"]
    version: _Version
    test_fraction: Annotated[float | None, Field(gt=0, lt=1, description="Share that goes to test.")] = None
    test: Annotated[int | None, Field(ge=1, description="Conversations for test, in place of a share.")] = None
    seed: Annotated[int, Field(description="Decides who goes where.")] = 123


class ReviewTaken(_Taken):
    """The rows of a version that are worth a person's time are chosen."""

    kind: Literal["review"]
    version: _Version
    limit: Annotated[int | None, Field(ge=1, le=10_000, description="Most rows; as many as the last time, or 100.")] = (
        None
    )
    seed: Annotated[int | None, Field(description="For the draw; that of the last time.")] = None


class ClustersTaken(_Taken):
    """Traces whose users want the same are put together, and the clusters replace those before."""

    kind: Literal["clusters"]
    where: _Where = None
    embedder: Annotated[_Model, Field(description="`offline`, or the name of a model that makes vectors.")] = "offline"
    clusters: Annotated[int | None, Field(ge=1, description="How many to make; null to find out.")] = None
    name_model: Annotated[_Model | None, Field(description="Names them; null for names by terms alone.")] = None
    least_traces: Annotated[int | None, Field(ge=1, description="A group with fewer is no cluster.")] = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="Of everything that is drawn by chance.")] = 0
    config: _Config = None


class PromoteTaken(_Taken):
    """Traces of clusters become a version."""

    kind: Literal["promote"]
    clusters: Annotated[list[int], Field(min_length=1, description="Their ids.")]
    dataset: _Dataset
    where: _Where = None
    rows: Annotated[int | None, Field(ge=1, description="At most so many, those nearest the middle.")] = None
    pick: Annotated[list[str], Field(default_factory=list, description="Ids of traces to take, in place of all.")]
    exclude: Annotated[list[str], Field(default_factory=list, description="Ids of traces to leave out.")]
    add: _Add = False
    note: _Note = None


class EvaluateTaken(_Taken):
    """Models answer the rows of a frozen version, and their answers are scored."""

    kind: Literal["evaluate"]
    version: _Version
    models: Annotated[list[_Model], Field(default_factory=list, description="Who answers.")]
    part: Annotated[EvaluatedPart, Field(description="Which rows.")] = EvaluatedPart.TEST
    suite: Annotated[EvaluationSuite, Field(description="What kind of answers are scored.")] = EvaluationSuite.AUTO
    metrics: Annotated[list[_Label], Field(default_factory=list, description="Those that are wanted; empty for all.")]
    judge: Annotated[_Model | None, Field(description="Judges answers; null: nobody does.")] = None
    has_recorded: Annotated[bool, Field(description="Score the answers that the rows hold, too.")] = False
    job_description: Annotated[JsonObject | None, Field(description="What the judge is told of the task.")] = None
    config: _Config = None


def _kind_of(body: Any) -> Any:  # noqa: ANN401 - whatever the body is
    """Tell by which shape a body is read; the kind that was there first needs no name."""
    if isinstance(body, dict):
        return body.get("kind", JobKind.PROCESS.value)
    return getattr(body, "kind", JobKind.PROCESS.value)


_Any = Annotated[
    Annotated[ProcessTaken, Tag("process")]
    | Annotated[GenerateTaken, Tag("generate")]
    | Annotated[JudgeTaken, Tag("judge")]
    | Annotated[FilterTaken, Tag("filter")]
    | Annotated[SplitTaken, Tag("split")]
    | Annotated[ReviewTaken, Tag("review")]
    | Annotated[ClustersTaken, Tag("clusters")]
    | Annotated[PromoteTaken, Tag("promote")]
    | Annotated[EvaluateTaken, Tag("evaluate")],
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
