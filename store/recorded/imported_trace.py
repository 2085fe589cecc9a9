"""A call that somebody else recorded, as a trace of ours.

Messages in chat form stay the characters that they were written in; others are brought into that form. What the source
does not tell stays None, and flags say which of the fields that every trace has were not told: the outcome, the time.

Ids are made of what was read (`make_id`), so importing a file again, or another one that holds some of the same calls,
stores each call once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final
from uuid import UUID

from store import json_text
from store.json_text import JsonTextError
from store.recorded.call import normal_messages
from store.recorded.chat_form import is_chat_form
from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json
from store.recorded.message_form import argument_flags, to_openai
from store.recorded.source_call import SourceCall, SourceReply
from store.recorded.source_value import read_count, read_tools
from store.trace import Flag, JsonText, Outcome, Reply, Trace

ROUTE: Final = "import"
"""The route of every imported trace."""
_ENDPOINT: Final = "chat.completions"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TAGS: Final[Mapping[str, str]] = {}
_HASH_TAG: Final = b"tracemill import 1\n"
_MICROSECOND: Final = timedelta(microseconds=1)
_CALL_FIELDS: Final = frozenset({"tool_calls", "function_call"})
_LAST_MS: Final = 2**48 - 1
_PROMPT_TOKENS: Final = ("prompt_tokens", "input_tokens", "input", "promptTokens")
_COMPLETION_TOKENS: Final = ("completion_tokens", "output_tokens", "output", "completionTokens")


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts that a trace is made of, each as in the trace; of replies the messages."""

    messages: tuple[JsonText, ...]
    replies: tuple[JsonText, ...]
    tools: JsonText | None
    response_format: JsonText | None
    metadata: JsonText | None
    parameters: JsonText
    usage: JsonText | None


def make_trace(
    call: SourceCall,
    source_format: str,
    imported_at: datetime,
    tags: Mapping[str, str] = _NO_TAGS,
    text: JsonText | None = None,
) -> Trace:
    """Make the trace of one call.

    Args:
        call: As its format's reader gives it.
        source_format: The name of the format; it stands as the trace's upstream.
        imported_at: Stands in for a time that the source does not tell.
        tags: To be added; they have no part in the id.
        text: The JSON object that the call was read from, where it holds `messages`, `tools` and the rest as OpenAI
            writes them: the trace is cut from it, letter by letter.

    Raises:
        LineError: `no_messages`, `bad_message`, `bad_response_format` or `bad_tools`.
        JsonTextError: `text` holds something that JSON does not have.
    """
    texts = _written(call) if text is None else _cut(call, text)
    return Trace(
        id=call.trace_id or make_id(call, texts),
        created_at=call.created_at or imported_at,
        method="",
        path="",
        route=ROUTE,
        upstream=source_format,
        outcome=call.outcome or Outcome.COMPLETED,
        endpoint=_ENDPOINT,
        requested_model=call.requested_model,
        served_model=_served_model(call),
        messages=texts.messages,
        tools=texts.tools,
        response_format=texts.response_format,
        parameters=texts.parameters,
        replies=_replies(call, texts),
        usage=texts.usage,
        prompt_tokens=_tokens(call.usage, _PROMPT_TOKENS),
        completion_tokens=_tokens(call.usage, _COMPLETION_TOKENS),
        ttft_ms=call.ttft_ms,
        duration_ms=call.duration_ms,
        upstream_id=call.upstream_id,
        system_fingerprint=call.system_fingerprint,
        session=call.session,
        user=call.user,
        tags={**call.tags, **tags},
        metadata=texts.metadata,
        error=call.error,
        flags=_flags(call, texts),
    )


def _served_model(call: SourceCall) -> str | None:
    return call.served_model or next((reply.model for reply in call.replies if reply.model), None)


def _replies(call: SourceCall, texts: Texts) -> tuple[Reply, ...]:
    pairs = zip(call.replies, texts.replies, strict=True)
    return tuple([Reply(reply.index, text, reply.finish_reason) for reply, text in pairs])


def make_id(call: SourceCall, texts: Texts) -> UUID:
    """Make an id of what a source told: UUIDv8 (RFC 9562, 5.8), the time in front as in version 7, zero when untold.

    The source's own id alone would not do: sources count from one, or give one id to many calls. With all that was told
    of the call beside it, two records get one id when they say the same.
    """
    micros = 0 if call.created_at is None else (call.created_at - _EPOCH) // _MICROSECOND
    hashed = blake2b(_HASH_TAG, digest_size=10)
    for text in _told(call, texts, micros):
        hashed.update(b"%d:" % len(text))
        hashed.update(text)
    bits = int.from_bytes(hashed.digest())
    milliseconds = min(max(micros // 1000, 0), _LAST_MS)
    return UUID(int=milliseconds << 80 | 0x8 << 76 | (bits >> 68) << 64 | 0b10 << 62 | bits & (1 << 62) - 1)


def _told(call: SourceCall, texts: Texts, micros: int) -> Iterator[bytes]:
    """Give what makes a call the call it is: a change of this list gives all calls other ids."""
    yield json_text.dumps(
        [
            call.id,
            micros,
            call.outcome,
            [call.requested_model, call.served_model, call.upstream_id, call.session, call.user, call.error],
            [call.ttft_ms, call.duration_ms],
            sorted(call.tags.items()),
            [[reply.index, reply.finish_reason] for reply in call.replies],
            len(texts.messages),
        ]
    )
    yield from texts.messages
    yield from texts.replies
    for text in (texts.tools, texts.response_format, texts.parameters, texts.usage, texts.metadata):
        yield b"" if text is None else text


def join_choices(first: Trace, second: Trace) -> Trace:
    """Put the replies of two lines of one exported trace together again."""
    return replace(first, replies=(*first.replies, *second.replies), flags=first.flags | second.flags)


def _cut(call: SourceCall, text: JsonText) -> Texts:
    """Cut the texts out of the object the call was read from; each one that has the right shape stays as it is."""
    members = json_text.members(text)
    fields = dict(members)
    slices = json_text.elements(fields["messages"])
    # Our own lines hold what a client sent us, whatever that was; elsewhere a message has to be one.
    values = [*call.messages, *(reply.message for reply in call.replies)]
    if call.trace_id is None:
        pieces = [_in_chat_form(value, text) for value, text in zip(values, slices, strict=True)]
    else:
        pieces = [(told,) for told in slices]
    asked = pieces[: len(call.messages)]
    return Texts(
        messages=tuple([told for piece in asked for told in piece]),
        replies=tuple(_one(piece) for piece in pieces[len(call.messages) :]),
        tools=_tools_text(call, fields),
        response_format=_response_format_text(call, fields.get("response_format")),
        metadata=_metadata_text(call, fields.get("metadata") if call.trace_id is None else None),
        parameters=_object((name, told) for name, told in members if name in call.parameters),
        usage=None if call.usage is None else _dumps(call.usage),
    )


def _written(call: SourceCall) -> Texts:
    """Write the texts anew, in chat form."""
    asked: list[JsonText] = []
    if call.messages or not call.replies:
        asked = [_dumps(to_openai(message)) for message in normal_messages(replace(call, replies=()), None)[0]]
    return Texts(
        messages=tuple(asked),
        replies=tuple(_reply_text(reply) for reply in call.replies),
        tools=None if call.tools is None else _dumps(call.tools),
        response_format=_response_format_text(call, None),
        metadata=_metadata_text(call, None),
        parameters=_dumps(dict(call.parameters)),
        usage=None if call.usage is None else _dumps(call.usage),
    )


def _reply_text(reply: SourceReply) -> JsonText:
    messages, _ = normal_messages(SourceCall(()), reply)
    return _one(tuple(_dumps(to_openai(message)) for message in messages))


def _in_chat_form(value: Json, text: JsonText) -> tuple[JsonText, ...]:
    """Give a message as it stands when it is in chat form, else the one or more that it becomes."""
    if is_chat_form(value):
        return (text,)
    messages, _ = normal_messages(SourceCall((value,)), None)
    return tuple(_dumps(to_openai(message)) for message in messages)


def _one(texts: tuple[JsonText, ...]) -> JsonText:
    """Give the one message that a reply is: a reply cannot hold results of tools."""
    if len(texts) != 1:
        raise LineError(RejectReason.BAD_MESSAGE, "the reply holds results of tools")
    return texts[0]


def _tools_text(call: SourceCall, fields: Mapping[str, JsonText]) -> JsonText | None:
    text = fields.get("tools")
    if call.trace_id is not None:
        return text
    if call.tools is None or text is None:
        return None  # legacy functions have another shape, and stay among the parameters
    value = json_text.loads(text) if text.startswith(b"[") else None
    return text if value is not None and read_tools(value) == value else _dumps(call.tools)


def _response_format_text(call: SourceCall, text: JsonText | None) -> JsonText | None:
    if call.response_format is None:
        return None
    if not isinstance(call.response_format, dict) and call.trace_id is None:
        raise LineError(RejectReason.BAD_RESPONSE_FORMAT, "response_format is not an object")
    return _dumps(call.response_format) if text is None else text


def _metadata_text(call: SourceCall, text: JsonText | None) -> JsonText | None:
    if text is not None and text.startswith(b"{") and not call.about:
        return text
    metadata = dict(call.metadata)
    if call.about:
        metadata[_free_name("source", metadata)] = dict(call.about)
    return _dumps(metadata) if metadata else None


def _free_name(name: str, taken: Mapping[str, Json]) -> str:
    while name in taken:
        name += "_"
    return name


def _flags(call: SourceCall, texts: Texts) -> frozenset[Flag]:
    flags = call.flags | {Flag.IMPORTED}
    if call.trace_id is not None:
        # What our own lines do not say of a whole trace was known once: nothing of it is missing there.
        return flags if call.created_at else flags | {Flag.TIME_UNTOLD}
    if call.outcome is None:
        flags |= {Flag.OUTCOME_UNTOLD}
    if call.created_at is None:
        flags |= {Flag.TIME_UNTOLD}
    if texts.usage is None:
        flags |= {Flag.NO_USAGE}
    if any(reply.finish_reason is None for reply in call.replies):
        flags |= {Flag.NO_FINISH_REASON}
    if any(_has_odd_arguments(reply) for reply in call.replies):
        flags |= {Flag.ARGUMENTS_INVALID}
    return flags


def _has_odd_arguments(reply: SourceReply) -> bool:
    if isinstance(reply.message, dict) and is_chat_form(reply.message) and _CALL_FIELDS.isdisjoint(reply.message):
        return False
    messages, _ = normal_messages(SourceCall(()), reply)
    return any(argument_flags(tool_call.arguments) for message in messages for tool_call in message.tool_calls)


def _tokens(usage: Mapping[str, Json] | None, names: Iterable[str]) -> int | None:
    if usage is None:
        return None
    return next((count for name in names if (count := read_count(usage.get(name))) is not None), None)


def _object(members: Iterable[tuple[str, JsonText]]) -> JsonText:
    return b"{" + b",".join(json_text.dumps(name) + b":" + text for name, text in members) + b"}"


def _dumps(value: Json) -> JsonText:
    try:
        return json_text.dumps(value)
    except JsonTextError as exc:
        raise LineError(RejectReason.BAD_MESSAGE, "a value stands there that JSON does not have (NaN)") from exc
