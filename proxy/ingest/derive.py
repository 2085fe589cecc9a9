"""Deriving the trace of a call from its raw bytes: pure, so that it can be done again over the same bytes.

A call to `…/chat/completions` becomes a whole trace; any other call is kept as metadata only, and so is one whose
client asked for it (`X-Tracemill-Capture: metadata`, or `store: false` in the body). Nothing a client or an upstream
sends makes `derive` fail: what cannot be read is missing from the trace, and a flag says so.
"""

from dataclasses import dataclass, replace

from proxy.assembly.chat import Assembler
from proxy.assembly.completion import Completion, encodable, read_completion, read_text
from proxy.assembly.sse import EventParser
from proxy.ingest.content_coding import ContentCodingError, Decoded, decode
from proxy.ingest.json_weight import has_more_values, weigh
from proxy.ingest.labels import read_labels
from proxy.journal.raw_call import HeaderList, RawCall
from store import json_text
from store.json_text import JsonTextError
from store.trace import Flag, JsonText, Outcome, Trace

CHAT_COMPLETIONS = "chat.completions"

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
_MAX_MESSAGES = 20_000
"""More are kept as they stand, among the parameters: each message would become a row."""
_BLOCK_BYTES = 64 * 1024
_LIFTED = {"messages": b"[", "tools": b"[", "response_format": b"{"}
"""Request fields that are stored in a place of their own, with the bracket of the shape they must have for it."""


def derive(call: RawCall, *, max_decoded_bytes: int) -> Trace:
    """Make the trace of one call.

    Args:
        call: The call as the journal holds it.
        max_decoded_bytes: The most that a body may become when its content-encoding is undone; beyond it the body
            counts as undecodable.
    """
    labels = read_labels(call.request_headers)
    trace = Trace(
        id=call.trace_id,
        created_at=call.started_at,
        method=call.method,
        path=call.path,
        route=call.route,
        upstream=call.upstream,
        status=call.status,
        outcome=call.outcome,
        ttft_ms=call.ttft_ms,
        duration_ms=call.duration_ms,
        request_id=_request_id(call.response_headers),
        session=labels.session,
        user=labels.user,
        tags=labels.tags,
        key_fingerprint=call.key_fingerprint,
        error=call.error,
        request_bytes=call.request_bytes,
        response_bytes=call.response_bytes,
    )
    if call.method != "POST" or not call.path.endswith("/chat/completions"):
        return trace
    request = _read_request(call, max_decoded_bytes)
    whole = _with_answer(_with_request(trace, request), call, max_decoded_bytes)
    is_metadata_only = (
        _header(call.request_headers, "x-tracemill-capture").lower() == "metadata" or request.is_opted_out
    )
    return _without_content(whole, call.error) if is_metadata_only else whole


@dataclass(frozen=True, slots=True)
class _Request:
    """A request body, taken apart.

    Attributes:
        lifted: The fields of `_LIFTED` that are there in their shape.
        parameters: Every other field, as one object.
        fields: All fields; of one named twice, the last.
    """

    fields: dict[str, JsonText]
    lifted: dict[str, JsonText]
    parameters: JsonText
    flags: frozenset[Flag]

    @property
    def is_opted_out(self) -> bool:
        return self.fields.get("store") == b"false"


def _read_request(call: RawCall, max_bytes: int) -> _Request:
    cut = frozenset({Flag.REQUEST_TRUNCATED}) if call.is_request_truncated else frozenset[Flag]()
    try:
        decoded = decode(call.request_body, _header(call.request_headers, "content-encoding"), max_bytes=max_bytes)
        text = _whole_json(decoded.body, _MAX_REQUEST_VALUES)
    except (ContentCodingError, JsonTextError):
        return _Request({}, {}, b"{}", cut | {Flag.REQUEST_NOT_JSON})
    if not text.startswith(b"{"):
        return _Request({}, {}, b"{}", cut | {Flag.REQUEST_MALFORMED})
    return _take_apart(json_text.members(text), cut)


def _take_apart(members: list[tuple[str, JsonText]], flags: frozenset[Flag]) -> _Request:
    fields = dict(members)
    lifted = {name: fields[name] for name, start in _LIFTED.items() if fields.get(name, b"").startswith(start)}
    messages = json_text.elements(lifted.get("messages", b"[]"))
    if len(messages) > _MAX_MESSAGES or not all(message.startswith(b"{") for message in messages):
        del lifted["messages"]
    if "messages" not in lifted or len(fields) < len(members):
        flags |= {Flag.REQUEST_MALFORMED}
    last = {name: place for place, (name, _) in enumerate(members)}
    kept = [(name, value) for place, (name, value) in enumerate(members) if name not in lifted or place != last[name]]
    parameters = b",".join(json_text.dumps(name) + b":" + value for name, value in kept)
    return _Request(fields, lifted, b"{" + parameters + b"}", flags)


def _with_request(trace: Trace, request: _Request) -> Trace:
    metadata = request.fields.get("metadata", b"null")
    return replace(
        trace,
        endpoint=CHAT_COMPLETIONS,
        is_streaming=request.fields.get("stream") == b"true",
        requested_model=read_text(request.fields.get("model")),
        messages=tuple(json_text.elements(request.lifted.get("messages", b"[]"))),
        tools=request.lifted.get("tools"),
        response_format=request.lifted.get("response_format"),
        parameters=request.parameters,
        user=trace.user or read_text(request.fields.get("user")),
        metadata=metadata if metadata.startswith(b"{") else None,
        flags=request.flags,
    )


def _with_answer(trace: Trace, call: RawCall, max_bytes: int) -> Trace:
    if call.status is None:
        return trace
    flags = {Flag.RESPONSE_TRUNCATED} if call.is_response_truncated else set[Flag]()
    try:
        decoded = decode(call.response_body, _header(call.response_headers, "content-encoding"), max_bytes=max_bytes)
    except ContentCodingError:
        decoded = Decoded(b"", is_whole=False)
    if not decoded.is_whole and call.outcome in _WHOLE and not call.is_response_truncated:
        flags.add(Flag.RESPONSE_UNDECODABLE)
    if call.status >= 400:
        return replace(trace, flags=trace.flags | flags, error=trace.error or _error_text(decoded.body))
    completion = _read_answer(decoded.body, call)
    if completion.usage is None:
        flags.add(Flag.NO_USAGE)
    tokens = dict(json_text.members(completion.usage or b"{}"))
    return replace(
        trace,
        # Clients hang up on an error event and upstreams after one: it is the reason, what the exchange saw follows.
        outcome=trace.outcome if completion.error is None else Outcome.UPSTREAM_ERROR,
        replies=completion.replies,
        usage=completion.usage,
        prompt_tokens=_token_count(tokens.get("prompt_tokens")),
        completion_tokens=_token_count(tokens.get("completion_tokens")),
        served_model=completion.served_model,
        upstream_id=completion.upstream_id,
        system_fingerprint=completion.system_fingerprint,
        error=trace.error if completion.error is None else _bounded(completion.error),
        flags=trace.flags | flags | completion.flags,
    )


def _read_answer(body: bytes, call: RawCall) -> Completion:
    if _is_event_stream(body, _header(call.response_headers, "content-type")):
        return _assemble(body)
    if not body and (call.outcome not in _WHOLE or call.is_response_truncated):
        return Completion()
    try:
        return read_completion(_whole_json(body, _MAX_ANSWER_VALUES))
    except JsonTextError:
        return Completion(flags=frozenset({Flag.RESPONSE_NOT_JSON}))


def _is_event_stream(body: bytes, content_type: str) -> bool:
    """Tell a stream by its content type; by its first bytes where a server named it plain text or nothing at all."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in ("", "text/plain", "application/octet-stream"):
        return body.lstrip().startswith((b"data:", b"event:", b":"))
    return media_type == "text/event-stream" and not body.lstrip().startswith(b"{")


def _assemble(body: bytes) -> Completion:
    """Assemble a stream, as far as it is no more work than any model's answer."""
    parser, assembler = EventParser(max_event_bytes=len(body)), Assembler()
    work = 0
    for start in range(0, len(body), _BLOCK_BYTES):
        block = body[start : start + _BLOCK_BYTES]
        work += weigh(block) + _LINE_WORK * (block.count(b"\n") + block.count(b"\r"))
        if work > _MAX_STREAM_WORK:
            completion = assembler.finish()
            return replace(completion, flags=completion.flags | {Flag.RESPONSE_TRUNCATED})
        for event in parser.feed(block):
            assembler.feed(event)
    for event in parser.finish():
        assembler.feed(event)
    return assembler.finish()


def _whole_json(body: bytes, max_values: int) -> JsonText:
    if has_more_values(body, max_values):
        raise JsonTextError("more values than any call has")
    if json_text.is_too_deep(json_text.loads(body)):
        raise JsonTextError("nested too deep")
    return json_text.compact(body)


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


def _header(headers: HeaderList, name: str) -> str:
    return ", ".join(value.strip() for key, value in headers if key == name)


def _request_id(headers: HeaderList) -> str | None:
    return next((value.strip() for key, value in headers if key == "x-request-id" and value.strip()), None)


def _token_count(text: JsonText | None) -> int | None:
    if text is None or not text.isdigit() or len(text) > 19:
        return None
    count = int(text)
    return count if count < _MAX_TOKENS else None


def _error_text(body: bytes) -> str | None:
    return _bounded(body[: 4 * _MAX_ERROR_CHARACTERS].decode("utf-8", "replace")) or None


def _bounded(text: str) -> str:
    return encodable(text[:_MAX_ERROR_CHARACTERS])
