"""Deriving the trace of a call from its raw bytes: pure, so that it can be done again over the same bytes.

A call to an endpoint whose dialect we read becomes a whole trace; any other call is kept as metadata only, and so is
one whose client asked for it (`X-Tracemill-Capture: metadata`, or `store: false` in the body). Nothing a client or an
upstream sends makes `derive` fail: what cannot be read is missing from the trace, and a flag says so.
"""

from dataclasses import replace

import orjson

from proxy.assembly.completion import Completion, encodable, is_empty
from proxy.assembly.dialect import DIALECTS, Dialect
from proxy.assembly.endpoint import Endpoint, endpoint_of
from proxy.assembly.event_json import is_too_deep
from proxy.assembly.request import Request
from proxy.assembly.sse import EventParser
from proxy.assembly.text_run import fold_runs
from proxy.ingest.content_coding import ContentCodingError, Decoded, decode
from proxy.ingest.json_weight import count_values, has_more_values, weigh
from proxy.ingest.labels import read_labels
from proxy.journal.raw_call import HeaderList, RawCall
from store import json_text
from store.json_text import JsonTextError, JsonValue
from store.record import record
from store.trace import Flag, JsonText, Outcome, Trace

_MAX_ERROR_CHARACTERS = 64 * 1024
_MAX_TOKENS = 2**63
_WHOLE = (Outcome.COMPLETED, Outcome.UPSTREAM_ERROR)
"""How a call ends whose answer came whole."""
_MAX_REQUEST_VALUES = 300_000
"""Values of a request, for everybody waits while ingest takes it apart: 1.4 s and 100 MB for the worst of this many. A
conversation of thousands of messages with a hundred tools has some fifty thousand."""
_MAX_ANSWER_VALUES = 2_000_000
"""Of a plain answer: 20 alternatives with their bytes for each of 13,000 tokens are as many."""
_MAX_STREAM_WORK = 4_000_000
"""Of a stream, in values: some 180,000 ordinary chunks."""
_LINE_WORK = 5
_BLOCK_BYTES = 64 * 1024
_REQUEST_IDS = ("x-request-id", "request-id")
"""OpenAI's header and Anthropic's."""
_NO_REQUEST = Request()
_NO_COMPLETION = Completion()


def derive(call: RawCall, *, max_decoded_bytes: int) -> Trace:
    """Make the trace of one call.

    Args:
        call: The call as the journal holds it.
        max_decoded_bytes: The most that a body may become when its content-encoding is undone; beyond it the body
            counts as undecodable.
    """
    endpoint = endpoint_of(call.method, call.path)
    if endpoint is None:
        return _make_trace(call)
    dialect = DIALECTS[endpoint]
    sent, came = _fields(call.request_headers), _fields(call.response_headers)
    request = _read_request(call, sent, dialect, max_decoded_bytes)
    answer = _read_answer(call, came, dialect, max_decoded_bytes)
    is_metadata_only = request.is_opted_out or sent.get("x-tracemill-capture", "").lower() == "metadata"
    trace = _make_trace(call, endpoint, request, answer)
    return _without_content(trace, call.error) if is_metadata_only else trace


@record(frozen=True, slots=True)
class _Answer:
    """What came back, read.

    Attributes:
        error: The upstream's own words, None when it told of none.
        tokens: The members of `usage` that count prompt and completion.
    """

    completion: Completion = _NO_COMPLETION
    error: str | None = None
    tokens: tuple[int | None, int | None] = (None, None)
    flags: frozenset[Flag] = frozenset()


_NO_ANSWER = _Answer()


def _make_trace(
    call: RawCall, endpoint: Endpoint | None = None, request: Request = _NO_REQUEST, answer: _Answer = _NO_ANSWER
) -> Trace:
    labels = read_labels(call.request_headers)
    completion = answer.completion
    return Trace(
        id=call.trace_id,
        created_at=call.started_at,
        method=call.method,
        path=call.path,
        route=call.route,
        upstream=call.upstream,
        # Clients hang up on an error event and upstreams after one: it is the reason, what the exchange saw follows.
        outcome=call.outcome if completion.error is None else Outcome.UPSTREAM_ERROR,
        endpoint=None if endpoint is None else endpoint.value,
        status=call.status,
        is_streaming=request.is_streaming,
        requested_model=request.model,
        served_model=completion.served_model,
        messages=request.messages,
        tools=request.tools,
        response_format=request.response_format,
        parameters=request.parameters,
        replies=completion.replies,
        usage=completion.usage,
        prompt_tokens=answer.tokens[0],
        completion_tokens=answer.tokens[1],
        ttft_ms=call.ttft_ms,
        duration_ms=call.duration_ms,
        upstream_id=completion.upstream_id,
        request_id=_request_id(call.response_headers),
        system_fingerprint=completion.system_fingerprint,
        session=labels.session,
        user=labels.user or request.user,
        tags=labels.tags,
        metadata=request.metadata,
        key_fingerprint=call.key_fingerprint,
        error=answer.error or call.error,
        flags=request.flags | answer.flags | completion.flags,
        request_bytes=call.request_bytes,
        response_bytes=call.response_bytes,
    )


def _read_request(call: RawCall, sent: dict[str, str], dialect: Dialect, max_bytes: int) -> Request:
    cut = frozenset({Flag.REQUEST_TRUNCATED}) if call.is_request_truncated else frozenset[Flag]()
    try:
        decoded = decode(call.request_body, sent.get("content-encoding", ""), max_bytes=max_bytes)
        text, value = _whole_json(decoded.body, _MAX_REQUEST_VALUES)
    except (ContentCodingError, JsonTextError):
        return Request(flags=cut | {Flag.REQUEST_NOT_JSON})
    if not text.startswith(b"{"):
        return Request(flags=cut | {Flag.REQUEST_MALFORMED})
    if type(value) is dict and dialect.read_request_value is not None:
        request = dialect.read_request_value(value)
    else:
        request = dialect.read_request(json_text.members(text))
    return replace(request, flags=request.flags | cut) if cut else request


def _read_answer(call: RawCall, came: dict[str, str], dialect: Dialect, max_bytes: int) -> _Answer:
    if call.status is None:
        return _NO_ANSWER
    flags = {Flag.RESPONSE_TRUNCATED} if call.is_response_truncated else set[Flag]()
    try:
        decoded = decode(call.response_body, came.get("content-encoding", ""), max_bytes=max_bytes)
    except ContentCodingError:
        decoded = Decoded(b"", is_whole=False)
    if not decoded.is_whole and call.outcome in _WHOLE and not call.is_response_truncated:
        flags.add(Flag.RESPONSE_UNDECODABLE)
    if call.status >= 400:
        # What our own side said about the call is nearer to the cause than the body it came with.
        return _Answer(error=call.error or _error_text(decoded.body), flags=frozenset(flags))
    completion = _read_completion(decoded.body, call, came.get("content-type", ""), dialect)
    tokens = _token_counts(completion.usage, dialect)
    if completion.usage is None:
        flags.add(Flag.NO_USAGE)
    elif tokens[1] and call.outcome in _WHOLE and any(is_empty(reply.message) for reply in completion.replies):
        flags.add(Flag.REPLY_EMPTY)
    error = None if completion.error is None else _bounded(completion.error)
    return _Answer(completion, error, tokens, frozenset(flags))


def _read_completion(body: bytes, call: RawCall, content_type: str, dialect: Dialect) -> Completion:
    if _is_event_stream(body, content_type):
        return _assemble(body, dialect)
    if not body and (call.outcome not in _WHOLE or call.is_response_truncated):
        return Completion()
    try:
        text, value = _whole_json(body, _MAX_ANSWER_VALUES)
    except JsonTextError:
        return Completion(flags=frozenset({Flag.RESPONSE_NOT_JSON}))
    if type(value) is dict and dialect.read_answer_value is not None:
        return dialect.read_answer_value(value)
    return dialect.read_answer(text)


def _is_event_stream(body: bytes, content_type: str) -> bool:
    """Tell a stream by its content type; by its first bytes where a server named it plain text or nothing at all."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in ("", "text/plain", "application/octet-stream"):
        return body.lstrip().startswith((b"data:", b"event:", b":"))
    return media_type == "text/event-stream" and not body.lstrip().startswith(b"{")


def _assemble(body: bytes, dialect: Dialect) -> Completion:
    """Assemble a stream, as far as it is no more work than any model's answer."""
    assembler = dialect.assembler()
    is_bounded = _most_work(body) <= _MAX_STREAM_WORK
    if is_bounded and dialect.carried_text is not None:
        body = fold_runs(body, dialect.carried_text)
    parser = EventParser(max_event_bytes=len(body))
    work = 0
    for start in range(0, len(body), _BLOCK_BYTES):
        block = body[start : start + _BLOCK_BYTES]
        if not is_bounded:
            work += weigh(block) + _line_work(block)
            if work > _MAX_STREAM_WORK:
                completion = assembler.finish()
                return replace(completion, flags=completion.flags | {Flag.RESPONSE_TRUNCATED})
        for event in parser.feed(block):
            assembler.feed(event)
    for event in parser.finish():
        assembler.feed(event)
    return assembler.finish()


def _most_work(body: bytes) -> int:
    """Give a bound on the work of a stream that takes no look at where its strings are."""
    at_most = _LINE_WORK * len(body)  # as if it were nothing but line ends, which spares ordinary streams the counting
    return at_most if at_most <= _MAX_STREAM_WORK else count_values(body) + _line_work(body)


def _line_work(block: bytes) -> int:
    return _LINE_WORK * (block.count(b"\n") + block.count(b"\r"))


def _whole_json(body: bytes, max_values: int) -> tuple[JsonText, JsonValue]:
    """Give a body's JSON text, and its exact value where that is at hand."""
    if has_more_values(body, max_values):
        raise JsonTextError("more values than any call has")
    text, value = json_text.compact_value(body)
    if is_too_deep(text):
        raise JsonTextError("nested too deep")
    return text, value


def _without_content(trace: Trace, error: str | None) -> Trace:
    """Keep what tells about the call, and nothing of what was said in it."""
    return replace(
        trace,
        endpoint=None,
        messages=(),
        tools=None,
        response_format=None,
        parameters=b"{}",
        replies=(),
        metadata=None,
        error=error,
    )


def _fields(headers: HeaderList) -> dict[str, str]:
    """Give the fields by name, several of one name joined (RFC 9110 section 5.2)."""
    fields: dict[str, str] = {}
    for name, value in headers:
        fields[name] = f"{fields[name]}, {value.strip()}" if name in fields else value.strip()
    return fields


def _request_id(headers: HeaderList) -> str | None:
    for name, value in headers:
        if name in _REQUEST_IDS and (request_id := value.strip()):
            return request_id
    return None


def _token_counts(usage: JsonText | None, dialect: Dialect) -> tuple[int | None, int | None]:
    if usage is None:
        return None, None
    try:
        # What it reads otherwise than `loads`, numbers beyond 64 bits, counts no tokens either way.
        fields = orjson.loads(usage)
    except orjson.JSONDecodeError:
        fields = json_text.loads(usage)
    return _token_count(fields.get(dialect.prompt_tokens)), _token_count(fields.get(dialect.completion_tokens))


def _token_count(count: JsonValue) -> int | None:
    return count if type(count) is int and 0 <= count < _MAX_TOKENS else None


def _error_text(body: bytes) -> str | None:
    return _bounded(body[: 4 * _MAX_ERROR_CHARACTERS].decode("utf-8", "replace")) or None


def _bounded(text: str) -> str:
    return encodable(text[:_MAX_ERROR_CHARACTERS])
