"""Which message traces of our own calls go beside the rows: the keys `with_trace` and its neighbours."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, model_validator


class Step(StrEnum):
    """The steps that ask models about rows; columns are named after them."""

    RELABEL = "relabel"
    JUDGE = "judge"
    FILTER = "filter"
    GENERATE = "generate"


class TraceKind(StrEnum):
    """How much of a conversation with a model goes beside the row."""

    NONE = "none"
    LAST_MESSAGE = "last_message"
    ALL_MESSAGES = "all_messages"


class MessageTraces(BaseModel):
    """Which message traces go beside the rows; one word stands for all steps, and true for `all_messages`.

    Attributes:
        relabel: Of the model whose answer became the label; of the first one asked where there is no label.
        judge: Of the judge, beside each prediction.
        filter: Of the teacher that scored the conversation; it is asked about many at once.
        generate: Of the teacher that wrote an answer, where a dataset is generated from prompts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    relabel: TraceKind = TraceKind.NONE
    judge: TraceKind = TraceKind.NONE
    filter: TraceKind = TraceKind.NONE
    generate: TraceKind = TraceKind.NONE

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if isinstance(value, bool | str):
            return {step.value: _kind(value) for step in Step}
        if isinstance(value, Mapping):
            return {name: _kind(each) for name, each in value.items()}
        return value


def _kind(value: object) -> object:
    if isinstance(value, bool):
        return TraceKind.ALL_MESSAGES if value else TraceKind.NONE
    return value
