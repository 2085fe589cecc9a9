"""Calls in OpenTelemetry's GenAI conventions: spans, log records or bare attributes that tell of one model call each.

The conventions have changed their spelling several times; the newest one that a record holds counts:

- `gen_ai.input.messages`, `gen_ai.output.messages`, `gen_ai.system_instructions` as attributes of the span, of the
  event `gen_ai.client.inference.operation.details`, or of the record itself;
- events `gen_ai.user.message`, `gen_ai.choice` and so on;
- `gen_ai.prompt` and `gen_ai.completion` as JSON text, on the span or on events `gen_ai.content.prompt` and
  `gen_ai.content.completion`;
- numbered attributes, `gen_ai.prompt.0.content`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from store.recorded.answer import read_answer
from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json
from store.recorded.openai_line import read_trace_id
from store.recorded.otel_message import read_events, read_instructions, read_numbered, read_part_messages, read_replies
from store.recorded.otel_span import SourceSpan, read_span
from store.recorded.source_call import SourceCall, SourceReply
from store.recorded.source_value import first_text, milliseconds_between, read_tools, text_of_value, unwrapped
from store.trace import Outcome

_GENERATIONS: Final = ("chat", "text_completion", "generate_content", "completion", "responses")
_DETAILS: Final = "gen_ai.client.inference.operation.details"
_REQUEST: Final = "gen_ai.request."
_USAGE: Final = "gen_ai.usage."
_ABOUT: Final = (
    "gen_ai.provider.name",
    "gen_ai.system",
    "gen_ai.operation.name",
    "server.address",
    "gen_ai.agent.name",
)


class _Said(NamedTuple):
    """What was said in a call."""

    messages: list[Json]
    replies: tuple[SourceReply, ...]


def read_genai(value: Mapping[str, Json]) -> SourceCall:
    """Read one span, log record or bare set of attributes.

    Raises:
        LineError: `not_generation`, `no_input_output`, `bad_message` or `bad_tools`.
    """
    span = read_span(value)
    attributes = _all_attributes(span)
    operation = text_of_value(attributes.get("gen_ai.operation.name"))
    if operation is not None and operation not in _GENERATIONS:
        raise LineError(RejectReason.NOT_GENERATION, f"the span's operation is {operation[:40]}")
    if not any(name.startswith(("gen_ai.", "llm.")) for name in attributes) and not _has_genai_events(span):
        raise LineError(RejectReason.NOT_GENERATION, "the span has no attribute gen_ai.*")
    said = _said(span, attributes)
    if said is None:
        raise LineError(RejectReason.NO_INPUT_OUTPUT, "the span does not hold the messages of its call")
    replies = _with_reasons(said.replies, unwrapped(attributes.get("gen_ai.response.finish_reasons")))
    error = _error(span, attributes, replies)
    return SourceCall(
        messages=said.messages,
        replies=replies,
        tools=read_tools(attributes.get("gen_ai.tool.definitions")) or _numbered_tools(attributes),
        about=_about(span, attributes),
        parameters={
            name.removeprefix(_REQUEST): item
            for name, item in attributes.items()
            if name.startswith(_REQUEST) and name != "gen_ai.request.model"
        },
        id=None if span.span_id is None else f"{span.trace_id or ''}/{span.span_id}",
        trace_id=read_trace_id(attributes.get("tracemill.trace_id")),
        requested_model=text_of_value(attributes.get("gen_ai.request.model")),
        served_model=text_of_value(attributes.get("gen_ai.response.model")),
        outcome=_outcome(attributes, replies, error),
        error=error,
        created_at=span.started_at,
        ttft_ms=_milliseconds(attributes.get("gen_ai.response.time_to_first_chunk")),
        duration_ms=milliseconds_between(span.started_at, span.ended_at),
        usage={name.removeprefix(_USAGE): item for name, item in attributes.items() if name.startswith(_USAGE)} or None,
        upstream_id=text_of_value(attributes.get("gen_ai.response.id")),
        system_fingerprint=first_text(
            attributes, "openai.response.system_fingerprint", "gen_ai.openai.response.system_fingerprint"
        ),
        session=first_text(attributes, "gen_ai.conversation.id", "session.id"),
        user=first_text(attributes, "user.id", "enduser.id"),
    )


def _all_attributes(span: SourceSpan) -> Mapping[str, Json]:
    """Give the attributes of the span and of the event that holds what was said."""
    found = dict(span.attributes)
    for event in span.events:
        if event.name == _DETAILS:
            found.update(event.attributes)
            body = unwrapped(event.attributes.get(""))
            found.update(body if isinstance(body, dict) else {})
    return found


def _has_genai_events(span: SourceSpan) -> bool:
    return any(event.name.startswith("gen_ai.") for event in span.events)


def _said(span: SourceSpan, attributes: Mapping[str, Json]) -> _Said | None:
    given, came = attributes.get("gen_ai.input.messages"), attributes.get("gen_ai.output.messages")
    if given is not None or came is not None:
        messages = [] if given is None else read_part_messages(given, "gen_ai.input.messages")
        instructions = read_instructions(attributes.get("gen_ai.system_instructions"))
        replies = () if came is None else read_replies(came, "gen_ai.output.messages")
        return _Said([*instructions, *messages], replies)
    messages, replies = read_events(span.events)
    if messages or replies:
        return _Said(messages, replies)
    return _from_texts(span, attributes) or _from_numbers(attributes)


def _from_texts(span: SourceSpan, attributes: Mapping[str, Json]) -> _Said | None:
    prompt, completion = attributes.get("gen_ai.prompt"), attributes.get("gen_ai.completion")
    for event in span.events:
        prompt = event.attributes.get("gen_ai.prompt", prompt)
        completion = event.attributes.get("gen_ai.completion", completion)
    if prompt is None and completion is None:
        return None
    request = unwrapped(prompt)
    if isinstance(request, dict) and "messages" in request:
        request = request["messages"]
    messages = [] if request is None else read_part_messages(request, "gen_ai.prompt")
    answers = unwrapped(completion)
    if isinstance(answers, list) and all(isinstance(answer, dict) and "role" in answer for answer in answers):
        return _Said(messages, read_replies(answers, "gen_ai.completion"))
    return _Said(messages, read_answer(completion).replies)


def _from_numbers(attributes: Mapping[str, Json]) -> _Said | None:
    messages = [{"role": "user", **message} for message in read_numbered(attributes, "gen_ai.prompt.")]
    completions = read_numbered(attributes, "gen_ai.completion.")
    if not messages and not completions:
        return None
    replies = [
        SourceReply(
            {"role": "assistant", **{name: item for name, item in message.items() if name != "finish_reason"}},
            text_of_value(message.get("finish_reason")),
            index=index,
        )
        for index, message in enumerate(completions)
    ]
    return _Said(list(messages), tuple(replies))


def _numbered_tools(attributes: Mapping[str, Json]) -> list[Json] | None:
    tools = [
        {name: unwrapped(item) if name == "parameters" else item for name, item in tool.items()}
        for tool in read_numbered(attributes, "llm.request.functions.")
    ]
    return read_tools(tools) if tools else None


def _with_reasons(replies: tuple[SourceReply, ...], reasons: Json) -> tuple[SourceReply, ...]:
    """Give replies the finish reasons that stand beside them, where there is one for each."""
    if not isinstance(reasons, list) or len(reasons) != len(replies):
        return replies
    return tuple(
        reply if reply.finish_reason else replace(reply, finish_reason=text_of_value(reason))
        for reply, reason in zip(replies, reasons, strict=True)
    )


def _error(span: SourceSpan, attributes: Mapping[str, Json], replies: Sequence[SourceReply]) -> str | None:
    kind = text_of_value(attributes.get("error.type"))
    if span.is_error or kind is not None:
        told = first_text(attributes, "error.message", "exception.message") or span.status_message
        return ": ".join([text for text in (kind, told) if text]) or "the span's status is error"
    return "the finish reason is error" if any(reply.finish_reason == "error" for reply in replies) else None


def _outcome(attributes: Mapping[str, Json], replies: Sequence[SourceReply], error: str | None) -> Outcome | None:
    told = attributes.get("tracemill.outcome")
    if isinstance(told, str) and told in {outcome.value for outcome in Outcome}:
        return Outcome(told)
    if error is not None:
        return Outcome.UPSTREAM_ERROR
    return Outcome.COMPLETED if replies and all(reply.finish_reason for reply in replies) else None


def _milliseconds(seconds: Json) -> float | None:
    return seconds * 1000 if isinstance(seconds, int | float) and 0 <= seconds < 1e9 else None


def _about(span: SourceSpan, attributes: Mapping[str, Json]) -> dict[str, Json]:
    told = {"name": span.name, "trace_id": span.trace_id, "span_id": span.span_id}
    told |= {name: attributes.get(name) for name in _ABOUT}
    return {name: item for name, item in told.items() if item is not None}
