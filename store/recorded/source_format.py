"""The formats that recorded calls come in, how each line is told apart, and which reader takes it."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from store.recorded.errors import LineError, RejectReason
from store.recorded.langfuse import is_observation, observations, read_observation
from store.recorded.message import Json
from store.recorded.openai_line import read_openai, read_own, read_own_metadata, read_unstructured
from store.recorded.openpipe import is_openpipe, read_openpipe
from store.recorded.otel_genai import read_genai
from store.recorded.otel_span import is_span, spans_of
from store.recorded.source_call import SourceCall


class SourceFormat(StrEnum):
    """How a line tells of its calls."""

    TRACES = "traces"
    """What `tracemill export` writes."""
    OPENAI_MESSAGES = "openai_messages"
    """`messages`, and maybe `tools`, `response_format`, `metadata`."""
    OPENAI_MESSAGES_WITH_IMAGES = "openai_messages_with_images"
    """The same, with images among the content."""
    UNSTRUCTURED = "unstructured_with_openai_messages"
    """`context`, a string that holds an array of messages."""
    LANGFUSE = "langfuse"
    """Langfuse's observations."""
    OPENPIPE = "openpipe"
    """Request, completion and tags."""
    OTEL_GENAI = "otel_genai"
    """Spans or log records in OpenTelemetry's GenAI conventions."""


AUTO: Final = "auto"
"""Stands for deciding line by line, from the fields that are there."""


class AskedFormat(StrEnum):
    """What can be asked for: one format for all lines, or to tell it line by line."""

    AUTO = "auto"
    TRACES = "traces"
    OPENAI_MESSAGES = "openai_messages"
    OPENAI_MESSAGES_WITH_IMAGES = "openai_messages_with_images"
    UNSTRUCTURED = "unstructured_with_openai_messages"
    LANGFUSE = "langfuse"
    OPENPIPE = "openpipe"
    OTEL_GENAI = "otel_genai"

    @property
    def source_format(self) -> SourceFormat | None:
        """The one format; None for `auto`."""
        return None if self is AskedFormat.AUTO else SourceFormat(self.value)


def guess_format(value: Mapping[str, Json]) -> SourceFormat:
    """Tell a line's format by its fields; what fits none is left to OpenAI's reader, which says what is missing."""
    if "messages" in value:
        return SourceFormat.TRACES if read_own_metadata(value) is not None else SourceFormat.OPENAI_MESSAGES
    if is_span(value):
        return SourceFormat.OTEL_GENAI
    if is_openpipe(value):
        return SourceFormat.OPENPIPE
    if is_observation(value) or isinstance(value.get("observations"), list):
        return SourceFormat.LANGFUSE
    return SourceFormat.UNSTRUCTURED if "context" in value else SourceFormat.OPENAI_MESSAGES


def records_of(value: Mapping[str, Json], source_format: SourceFormat) -> list[Mapping[str, Json]]:
    """Give the records of a line: most hold one; a trace of Langfuse's or a request of OTLP's holds several.

    Raises:
        LineError: `not_generation`: a request of OTLP's that holds no span.
    """
    if source_format is SourceFormat.LANGFUSE:
        return list(observations(value))
    if source_format is not SourceFormat.OTEL_GENAI:
        return [value]
    spans = list(spans_of(value))
    if not spans:
        raise LineError(RejectReason.NOT_GENERATION, "the line holds no span and no log record")
    return spans


def read_record(value: Mapping[str, Json], source_format: SourceFormat) -> SourceCall:
    """Read one record.

    Raises:
        LineError: It cannot be read; the reason is of the closed list.
    """
    return _READERS[source_format](value)


def _read_traces(value: Mapping[str, Json]) -> SourceCall:
    own = read_own_metadata(value)
    if own is None:
        detail = "metadata does not name a trace as `tracemill export` does; is the format openai_messages?"
        raise LineError(RejectReason.NOT_OUR_EXPORT, detail)
    return read_own(value, own)


_READERS: Final[Mapping[SourceFormat, Callable[[Mapping[str, Json]], SourceCall]]] = {
    SourceFormat.TRACES: _read_traces,
    SourceFormat.OPENAI_MESSAGES: read_openai,
    SourceFormat.OPENAI_MESSAGES_WITH_IMAGES: read_openai,
    SourceFormat.UNSTRUCTURED: read_unstructured,
    SourceFormat.LANGFUSE: read_observation,
    SourceFormat.OPENPIPE: read_openpipe,
    SourceFormat.OTEL_GENAI: read_genai,
}
