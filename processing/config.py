"""Every key of a run's configuration: its type, its default and what it is for (`processing.config_file` reads it)."""

from functools import lru_cache
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from processing.pace import MOST_AUTO
from processing.trace_kind import MessageTraces

Task = Literal[
    "question-answering",
    "question-answering-closed-book",
    "classification",
    "tool-calling-closed-book",
    "multi-turn-tool-calling-closed-book",
    "chat-completion",
]
ObservationFormat = Literal[
    "openai_messages",
    "langfuse",
    "unstructured_with_openai_messages",
    "openai_messages_with_images",
    "openpipe",
    "otel_genai",
    "auto",
]
ModelName = Annotated[str, Field(min_length=1)]
RESERVED_FIELDS = frozenset({"model", "messages", "stream", "n", "tools", "response_format"})
"""Fields of a request that are ours to fill."""
DEFAULT_TEACHER = "openai.gpt-oss-120b"
DEFAULT_COMMITTEE = (
    "zai.glm-5",
    "Qwen3-235B-A22B-Instruct-2507",
    "openai.gpt-oss-120b-thinking",
    "deepseek.v3.2",
)


WITHOUT_EFFECT = {
    "base.student_model_name": "recorded only",
    "base.teacher_model_name": "none: `tracemill generate` is told its teacher, and the judge has a key of its own",
    "synthgen.validation_similarity_threshold": "for `tracemill generate` alone",
}
"""Keys that are accepted and change no row of a run, with the reason."""


def _is_parallel(value: object) -> object:
    if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError('is neither a whole number from 1 nor "auto"')
    return value


Parallel = Annotated[int | Literal["auto"], BeforeValidator(_is_parallel)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Base(_Section):
    """What the task is and which models do it.

    Attributes:
        task: The kind of task.
        student_model_name: Recorded in the manifest; nothing here trains it.
        teacher_model_name: The teacher for generation and evaluation.
        random_seed: Decides the split and every sample drawn.
        llm_num_parallel_requests: Teacher calls in flight at once; `"auto"` lets each server's answers decide: one
            more with each round of them, half as many when it asks for patience.
    """

    task: Task
    student_model_name: str | None = None
    teacher_model_name: ModelName = DEFAULT_TEACHER
    random_seed: int | None = 123
    llm_num_parallel_requests: Parallel = 4


class TraceProcessing(_Section):
    """How traces become examples.

    Attributes:
        observation_format: What one line of the traces file looks like.
        relabel: False keeps the recorded replies as labels.
        use_demonstrations: Where feedback says what every reply of an example should have been, that is the label, and
            the committee is not asked; only traces of the store have feedback. Rules and the relevance filter still
            look at what was recorded.
        convert_to_single_turn: One example per assistant message; null stands for true, and false for multi-turn tasks.
        relevance_filtering: Whether the teacher scores conversations against the job description.
        relevance_filtering_batch_size: Conversations scored in one call.
        min_relevance_score: Below it a conversation is dropped, 1 to 5; moving it costs no call.
        min_coherence_score: See `min_relevance_score`.
        num_traces_as_training_base: Conversations for train.
        num_traces_as_testing_base: Conversations for test; without effect when a test file is given.
        min_generated_examples: With fewer examples the job fails and says which stage took how many.
        max_unstructured: Most rows of `unstructured.jsonl`.
        remove_system_prompt_from_traces: Take leading system messages off.
        compress_job_description: The teacher shortens the job description before it is used.
        teacher_model_name: Scores relevance and is the committee's arbiter.
        relabelling_committee_models: Each answers every example; an empty list leaves the teacher alone.
        evaluate_original_model: Whether the base model is scored against the new labels.
        max_correction_steps: How often an invalid answer may be corrected by its model.
        max_restarts: How often a model whose corrections are used up is asked anew, at a temperature of 0.7.
        min_agreement: Below this agreement the arbiter picks.
        weighted_votes: Labels are voted on by weight: how far each model is right is estimated from how all of them
            agree over the run; false counts all alike. Without effect below 50 examples and for other tasks.
        arbiter_orders: 2 asks the arbiter between two answers in both orders, and leaves the example to review when the
            order decides; 1 asks once. Among three answers or more it is asked once.
        num_traces_as_unfiltered_sample: Conversations drawn before any filter to score the base model on what it
            really saw; 0 leaves that score out and saves its calls.
    """

    observation_format: ObservationFormat = "openai_messages"
    relabel: bool = True
    use_demonstrations: bool = False
    convert_to_single_turn: bool | None = None
    relevance_filtering: bool = True
    relevance_filtering_batch_size: int = Field(default=32, ge=1)
    min_relevance_score: int = Field(default=4, ge=1, le=5)
    min_coherence_score: int = Field(default=3, ge=1, le=5)
    num_traces_as_training_base: int = Field(default=200, ge=1)
    num_traces_as_testing_base: int = Field(default=200, ge=0)
    min_generated_examples: int = Field(default=20, ge=0)
    max_unstructured: int = Field(default=10_000, ge=0)
    remove_system_prompt_from_traces: bool = False
    compress_job_description: bool = False
    teacher_model_name: ModelName = DEFAULT_TEACHER
    relabelling_committee_models: tuple[ModelName, ...] = Field(default=DEFAULT_COMMITTEE, strict=False)
    evaluate_original_model: bool = True
    max_correction_steps: int = Field(default=1, ge=0)
    max_restarts: int = Field(default=0, ge=0)
    min_agreement: float = Field(default=0.6, ge=0, le=1)
    weighted_votes: bool = True
    arbiter_orders: int = Field(default=2, ge=1, le=2)
    num_traces_as_unfiltered_sample: int = Field(default=50, ge=0)

    @field_validator("relabelling_committee_models")
    @classmethod
    def _has_each_model_once(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((model for model in models if models.count(model) > 1), None)
        if twice is not None:
            raise ValueError(f'names "{twice}" twice; the same answer would be counted as two votes')
        return models


class Evaluation(_Section):
    """How answers are scored.

    Attributes:
        llm_as_a_judge_model_name: The judge.
        expand_tool_calling_turns: Multi-turn rows are scored message by message.
        calibration: Name of a JSON Lines file beside the configuration, of answers that people have judged (`prompt` or
            `messages`, `answer`, maybe `reference`, `label` good or bad): the judge judges them too, and the report
            tells how far both agree.
    """

    llm_as_a_judge_model_name: ModelName = DEFAULT_TEACHER
    expand_tool_calling_turns: bool = True
    calibration: ModelName | None = None

    @field_validator("calibration")
    @classmethod
    def _is_a_bare_name(cls, calibration: str | None) -> str | None:
        if calibration is not None and ("/" in calibration or "\\" in calibration or calibration in (".", "..")):
            raise ValueError("has to be the name of a file beside the configuration, without a folder")
        return calibration


class Synthgen(_Section):
    """Rules for rows; the length limit and `output_is_json` hold for traces too.

    Attributes:
        validation_max_total_length: Most characters of an example, input and output together.
        validation_similarity_threshold: Similarity from which a generated row is too close to another one; traces are
            grouped by a bound of their own, whatever this says.
        output_is_json: The reply has to be JSON; fences are taken off.
    """

    validation_max_total_length: int = Field(default=10_000, ge=1)
    validation_similarity_threshold: float = Field(default=0.95, gt=0, le=1)
    output_is_json: bool = False


class Price(_Section):
    """Money per million tokens.

    Attributes:
        input: For prompt tokens.
        output: For completion tokens.
        cached: For prompt tokens that the upstream had cached; null counts them as input.
    """

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)


class Model(_Section):
    """Where one model is asked.

    Attributes:
        base_url: OpenAI-compatible base, `https://host/v1`; null takes TRACEMILL_TEACHER_BASE_URL.
        model: The name that the server knows; null takes the name of the entry.
        api_key_env: Name of the environment variable that holds the key; the key itself never stands in a file.
        price: What its tokens cost; null leaves the cost unknown.
        max_parallel: Most calls of this model in flight at once.
        extra_body: Fields added to every request; a null takes a field away.
    """

    base_url: str | None = None
    model: ModelName | None = None
    api_key_env: ModelName | None = None
    price: Price | None = None
    max_parallel: int | None = Field(default=None, ge=1)
    extra_body: dict[str, Any] = Field(default_factory=dict)

    @field_validator("base_url")
    @classmethod
    def _can_be_asked(cls, base_url: str | None) -> str | None:
        if base_url is not None and not is_url(base_url):
            raise ValueError("is not an http:// or https:// URL with a host")
        return base_url

    @field_validator("extra_body")
    @classmethod
    def _leaves_our_fields_alone(cls, extra_body: dict[str, Any]) -> dict[str, Any]:
        ours = sorted(RESERVED_FIELDS & extra_body.keys())
        if ours:
            raise ValueError(f"sets {', '.join(ours)}, which Tracemill fills itself")
        return extra_body


class Config(_Section):
    """The effective configuration of a run.

    Attributes:
        base: See `Base`.
        trace_processing: See `TraceProcessing`.
        evaluation: See `Evaluation`.
        synthgen: See `Synthgen`.
        with_trace: Which message traces of our own calls go beside the rows.
        extract_reasoning_content: Whether the last reasoning of each step gets a column of its own.
        debug_override_save_all_traces: All message traces, whatever `with_trace` says.
        models: Model name to where it is asked; a name without entry is asked at TRACEMILL_TEACHER_BASE_URL.
        not_used: Dotted names of keys that were accepted and do nothing here, with their values.
    """

    base: Base
    trace_processing: TraceProcessing = TraceProcessing()
    evaluation: Evaluation = Evaluation()
    synthgen: Synthgen = Synthgen()
    with_trace: MessageTraces = Field(default_factory=MessageTraces)
    extract_reasoning_content: bool = False
    debug_override_save_all_traces: bool = False
    models: dict[str, Model] = Field(default_factory=dict)
    not_used: dict[str, Any] = Field(default_factory=dict)

    @property
    def is_single_turn(self) -> bool:
        """Whether every assistant message becomes an example of its own."""
        chosen = self.trace_processing.convert_to_single_turn
        return not self.base.task.startswith("multi-turn") if chosen is None else chosen

    @property
    def committee(self) -> tuple[str, ...]:
        """The models that answer every example."""
        return self.trace_processing.relabelling_committee_models or (self.trace_processing.teacher_model_name,)

    @property
    def has_judge(self) -> bool:
        """Whether anything is judged: recorded answers against new labels that are no classes."""
        wanted = self.trace_processing
        return wanted.relabel and wanted.evaluate_original_model and self.base.task != "classification"

    @property
    def message_traces(self) -> MessageTraces:
        """The message traces that go beside the rows."""
        return MessageTraces.model_validate(True) if self.debug_override_save_all_traces else self.with_trace

    @property
    def parallel(self) -> int | None:
        """Teacher calls in flight at once; None where each server decides."""
        wanted = self.base.llm_num_parallel_requests
        return None if wanted == "auto" else wanted

    @property
    def lanes(self) -> int:
        """How many items are worked on at once."""
        return MOST_AUTO if self.parallel is None else self.parallel

    @property
    def seed(self) -> str:
        """The random seed as text; a null seed is a seed of its own, so runs stay reproducible."""
        return str(self.base.random_seed)

    @property
    def ineffective(self) -> list[str]:
        """Dotted names of the keys that were given and change no row, those that are only recorded aside."""
        given = [
            name
            for name, why in WITHOUT_EFFECT.items()
            if why != "recorded only"
            and name.partition(".")[2] in getattr(self, name.partition(".")[0]).model_fields_set
        ]
        return sorted([*self.not_used, *given])

    def as_manifest(self) -> dict[str, Any]:
        """The configuration as the manifest holds it: without what cannot change a byte of the dataset."""
        written = self.model_dump(mode="json")
        del written["base"]["llm_num_parallel_requests"]
        for model in written["models"].values():
            del model["max_parallel"]
            if model["base_url"]:
                model["base_url"] = without_credentials(model["base_url"])
        return written


@lru_cache(maxsize=256)  # asked for some ten times a call
def without_credentials(url: str) -> str:
    """The URL without user, password, query and trailing slash: what may stand in messages and files."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def is_url(text: str) -> bool:
    """Whether requests can be sent there: http or https, a host, a port that is one, no blanks."""
    try:
        parts = urlsplit(text)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a broken IPv6 address, or a port beyond 65535
        return False
    return parts.scheme in {"http", "https"} and has_place and not any(character.isspace() for character in text)
