"""Langfuse observations, as documented and as they really come.

The documented line is `id`, `input` (messages), `output` (an array of `{toolCallId, toolName, input}`) and
`metadata.tools` (JSON-encoded definitions). Real exports put into `input` and `output` whatever the integration saw:
the whole request and the whole completion, as objects or as JSON text, a bare string, AI SDK results, Responses items.
Names come in camelCase (the API) and in snake_case (the blob export).
"""

from collections.abc import Iterator, Mapping
from typing import Final

from store.recorded.answer import read_answer
from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json
from store.recorded.source_call import SourceCall
from store.recorded.source_value import (
    first_text,
    first_value,
    milliseconds_between,
    parsed_or_none,
    read_metadata,
    read_tags,
    read_time,
    read_tools,
    text_of_value,
    unwrapped,
)
from store.trace import Outcome

_REQUEST_LIFTED: Final = frozenset({"messages", "prompt", "input", "tools", "functions", "response_format", "metadata"})
_ABOUT: Final = (
    ("id", ("id",)),
    ("trace_id", ("traceId", "trace_id")),
    ("parent_observation_id", ("parentObservationId", "parent_observation_id")),
    ("name", ("name",)),
    ("environment", ("environment",)),
    ("version", ("version",)),
    ("release", ("release",)),
    ("prompt_id", ("promptId", "prompt_id")),
    ("prompt_name", ("promptName", "prompt_name")),
    ("prompt_version", ("promptVersion", "prompt_version")),
    ("level", ("level",)),
    ("status_message", ("statusMessage", "status_message")),
)
_OF_THE_TRACE: Final = ("sessionId", "session_id", "userId", "user_id", "tags", "environment", "release")


def is_observation(value: Mapping[str, Json]) -> bool:
    """Whether a line looks like an observation."""
    return "input" in value or "output" in value


def observations(value: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """Give the observations of a line: the line itself, or those of a trace as Langfuse's pages download it.

    Session, user and tags of the trace go along with each of them.
    """
    inner = value.get("observations")
    if isinstance(inner, list) and inner and "messages" not in value and all(isinstance(item, dict) for item in inner):
        trace = value.get("trace")
        about = trace if isinstance(trace, dict) else value
        shared = {name: about[name] for name in _OF_THE_TRACE if about.get(name) is not None}
        for item in inner:
            yield {**shared, **item}
    else:
        yield value


def read_observation(value: Mapping[str, Json]) -> SourceCall:
    """Read one observation.

    Raises:
        LineError: `not_generation`, `no_input_output`, `no_messages`, `bad_message` or `bad_tools`.
    """
    kind = value.get("type")
    if isinstance(kind, str) and kind.upper() != "GENERATION":
        raise LineError(RejectReason.NOT_GENERATION, f"the observation's type is {kind[:40]}")
    if value.get("input") is None and value.get("output") is None:
        raise LineError(RejectReason.NO_INPUT_OUTPUT, "the observation has neither input nor output")
    request = _read_input(value.get("input"))
    metadata = read_metadata(value.get("metadata"))
    tools = read_tools(request.get("tools"), request.get("functions"))
    if tools is None:
        tools = read_tools(metadata.get("tools"))
    response_format = request.get("response_format")
    if response_format is None and isinstance(metadata.get("response_format"), dict):
        # Integrations write a class's name here too; that stays metadata.
        response_format = metadata.pop("response_format")
    answer = read_answer(value.get("output"))
    started_at = read_time(first_value(value, "startTime", "start_time"))
    error = _error(value) or answer.error
    return SourceCall(
        messages=request["messages"],
        replies=answer.replies,
        tools=tools,
        response_format=response_format,
        metadata={name: field for name, field in metadata.items() if name != "tools"},
        about={name: found for name, names in _ABOUT if (found := first_value(value, *names)) is not None},
        parameters=_parameters(value, request),
        id=text_of_value(value.get("id")),
        requested_model=text_of_value(request.get("model")) or text_of_value(value.get("model")),
        served_model=answer.model or _served_model(value, request),
        outcome=Outcome.UPSTREAM_ERROR if error is not None else _outcome(value, answer.replies != ()),
        error=error,
        created_at=started_at or answer.created_at,
        ttft_ms=milliseconds_between(
            started_at, read_time(first_value(value, "completionStartTime", "completion_start_time"))
        ),
        duration_ms=milliseconds_between(started_at, read_time(first_value(value, "endTime", "end_time"))),
        usage=answer.usage or _usage(value),
        upstream_id=answer.upstream_id,
        system_fingerprint=answer.system_fingerprint,
        session=first_text(value, "sessionId", "session_id"),
        user=first_text(value, "userId", "user_id") or text_of_value(request.get("user")),
        tags=read_tags(value.get("tags")),
    )


def _read_input(value: Json) -> dict[str, Json]:
    """Bring an input to `{messages, tools?, functions?, response_format?, model?}`."""
    parsed = _request_of(value)
    if isinstance(parsed, str):
        return {"messages": [{"role": "user", "content": parsed}]}
    if isinstance(parsed, list):
        return {"messages": parsed}
    if isinstance(parsed, dict):
        for name in ("messages", "prompt", "input"):
            inner = _request_of(parsed.get(name))
            if isinstance(inner, list):
                return {**parsed, "messages": inner}
            if isinstance(inner, str) and inner:
                return {**parsed, "messages": [{"role": "user", "content": inner}]}
    raise LineError(RejectReason.NO_MESSAGES, "input holds no messages: expected an array, {messages}, or a string")


def _request_of(value: Json) -> Json:
    """What JSON text holds when it is a request or an array of messages; any other text is the prompt itself."""
    parsed = parsed_or_none(value)
    if isinstance(parsed, dict) and ("messages" in parsed or "prompt" in parsed):
        return parsed
    if isinstance(parsed, list) and parsed and all(isinstance(item, dict) and "role" in item for item in parsed):
        return parsed
    return value


def _parameters(value: Mapping[str, Json], request: Mapping[str, Json]) -> dict[str, Json]:
    told = unwrapped(first_value(value, "modelParameters", "model_parameters"))
    own = {name: item for name, item in request.items() if name not in _REQUEST_LIFTED}
    return {**(told if isinstance(told, dict) else {}), **own}


def _served_model(value: Mapping[str, Json], request: Mapping[str, Json]) -> str | None:
    """The observation's model where the request names one too: then it is what the answer named."""
    return text_of_value(value.get("model")) if text_of_value(request.get("model")) else None


def _usage(value: Mapping[str, Json]) -> Mapping[str, Json] | None:
    usage = unwrapped(first_value(value, "usageDetails", "usage_details", "usage"))
    return usage if isinstance(usage, dict) and usage else None


def _error(value: Mapping[str, Json]) -> str | None:
    if value.get("level") != "ERROR":
        return None
    return first_text(value, "statusMessage", "status_message") or "the observation's level is ERROR"


def _outcome(value: Mapping[str, Json], has_reply: bool) -> Outcome | None:
    """An observation that ended without an error and has an output is a call that came to its end."""
    return Outcome.COMPLETED if has_reply and first_value(value, "endTime", "end_time") is not None else None
