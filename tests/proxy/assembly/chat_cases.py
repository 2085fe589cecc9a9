"""What servers send, standard or not, and the message it must become."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy.assembly.chat import ChatAssembler
from proxy.assembly.completion import Completion
from proxy.assembly.sse import EventParser
from store.json_text import JsonValue
from store.trace import Flag


def chunk(
    delta: dict[str, Any] | None = None, *, index: int = 0, finish: str | None = None, **fields: JsonValue
) -> dict[str, Any]:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1",
        "system_fingerprint": "fp_1",
        "choices": [choice],
    } | fields


def text_chunk(text: str, **fields: JsonValue) -> dict[str, Any]:
    return chunk({"content": text}, **fields)


def call(
    index: int | None, call_id: str | None = None, name: str | None = None, arguments: str | None = None
) -> dict[str, Any]:
    fragment: dict[str, Any] = {} if index is None else {"index": index}
    if call_id is not None:
        fragment |= {"id": call_id, "type": "function"}
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return fragment | {"function": function}


def calls_chunk(*fragments: dict[str, Any], **fields: JsonValue) -> dict[str, Any]:
    return chunk({"tool_calls": list(fragments)}, **fields)


def whole_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def assistant(content: str | None = None, **fields: JsonValue) -> dict[str, Any]:
    return {"role": "assistant", "content": content} | fields


ROLE = chunk({"role": "assistant", "content": None})
STOP = chunk(finish="stop")
CALLS_STOP = chunk(finish="tool_calls")
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "details": {"cached": 3}}
PARIS = whole_call("call_a", "weather", '{"city":"Paris"}')
OSLO = whole_call("call_b", "weather", '{"city":"Oslo"}')
PARIS_AND_OSLO = assistant(tool_calls=[PARIS, OSLO])


@dataclass(frozen=True)
class Case:
    name: str
    chunks: Sequence[dict[str, Any]]
    message: dict[str, Any]
    finish: str | None = "stop"
    usage: dict[str, Any] | None = None
    flags: frozenset[Flag] = frozenset()
    done: bool = True


CASES = [
    Case(
        "01 text with a trailing usage chunk",
        [ROLE, text_chunk("Hello"), text_chunk(" 漢🙂"), STOP, chunk(choices=[], usage=USAGE)],
        assistant("Hello 漢🙂"),
        usage=USAGE,
    ),
    Case(
        "02 one tool call",
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", "")),
            calls_chunk(call(0, arguments='{"city":')),
            calls_chunk(call(0, arguments='"Paris"}')),
            CALLS_STOP,
        ],
        assistant(tool_calls=[PARIS]),
        finish="tool_calls",
    ),
    Case(
        "03 two tool calls one after the other",
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", "")),
            calls_chunk(call(0, arguments='{"city":"Paris"}')),
            calls_chunk(call(1, "call_b", "weather", "")),
            calls_chunk(call(1, arguments='{"city":"Oslo"}')),
            CALLS_STOP,
        ],
        PARIS_AND_OSLO,
        finish="tool_calls",
    ),
    Case(
        "04 two calls opened in one chunk, then interleaved",
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", ""), call(1, "call_b", "weather", "")),
            calls_chunk(call(1, arguments='{"city":')),
            calls_chunk(call(0, arguments='{"city":'), call(1, arguments='"Oslo"}')),
            calls_chunk(call(0, arguments='"Paris"}')),
            CALLS_STOP,
        ],
        PARIS_AND_OSLO,
        finish="tool_calls",
    ),
    Case(
        "05 index always 0, distinct ids",
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", '{"city":"Paris"}')),
            calls_chunk(call(0, "call_b", "weather", '{"city":')),
            calls_chunk(call(0, arguments='"Oslo"}')),
            CALLS_STOP,
        ],
        PARIS_AND_OSLO,
        finish="tool_calls",
    ),
    Case(
        "06 no index, distinct ids",
        [
            ROLE,
            calls_chunk(call(None, "call_a", "weather", '{"city":'), call(None, "call_b", "weather", '{"city":')),
            calls_chunk(call(None, "call_a", arguments='"Paris"}')),
            calls_chunk(call(None, "call_b", arguments='"Oslo"')),
            calls_chunk(call(None, arguments="}")),
            CALLS_STOP,
        ],
        PARIS_AND_OSLO,
        finish="tool_calls",
    ),
    Case(
        "07 id and name repeated in each delta",
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", '{"city":')),
            calls_chunk(call(0, "call_a", "weather", '"Paris"}')),
            calls_chunk(call(1, "call_b", "weather", '{"city":"Oslo"}')),
            calls_chunk(call(1, "call_b", "weather", "")),
            CALLS_STOP,
        ],
        PARIS_AND_OSLO,
        finish="tool_calls",
    ),
    Case(
        "08 first index is 1",
        [
            ROLE,
            calls_chunk(call(1, "call_a", "weather", "")),
            calls_chunk(call(1, arguments='{"city":"Paris"}')),
            CALLS_STOP,
        ],
        assistant(tool_calls=[PARIS]),
        finish="tool_calls",
    ),
    Case(
        "10 reasoning_content",
        [
            chunk({"role": "assistant", "content": None, "reasoning_content": "Let me"}),
            chunk({"reasoning_content": " think."}),
            text_chunk("Four."),
            STOP,
        ],
        assistant("Four.", reasoning_content="Let me think."),
    ),
    Case(
        "11 reasoning, the other spelling",
        [ROLE, chunk({"reasoning": "Let me"}), chunk({"reasoning": " think."}), text_chunk("Four."), STOP],
        assistant("Four.", reasoning="Let me think."),
    ),
    Case(
        "12 refusal deltas",
        [ROLE, chunk({"refusal": "I can"}), chunk({"refusal": "not."}), STOP],
        assistant(refusal="I cannot."),
    ),
    Case(
        "14 legacy function_call",
        [
            ROLE,
            chunk({"function_call": {"name": "weather", "arguments": ""}}),
            chunk({"function_call": {"arguments": '{"city":'}}),
            chunk({"function_call": {"arguments": '"Paris"}'}}),
            chunk(finish="function_call"),
        ],
        assistant(function_call={"name": "weather", "arguments": '{"city":"Paris"}'}),
        finish="function_call",
    ),
    Case(
        "15 text without a finish reason",
        [ROLE, text_chunk("Hel"), text_chunk("lo")],
        assistant("Hello"),
        finish=None,
        flags=frozenset({Flag.NO_FINISH_REASON, Flag.STREAM_UNFINISHED}),
        done=False,
    ),
    Case(
        "16 cut inside tool arguments",
        [ROLE, calls_chunk(call(0, "call_a", "weather", "")), calls_chunk(call(0, arguments='{"ci'))],
        assistant(tool_calls=[whole_call("call_a", "weather", '{"ci')]),
        finish=None,
        flags=frozenset({Flag.NO_FINISH_REASON, Flag.STREAM_UNFINISHED, Flag.ARGUMENTS_INVALID}),
        done=False,
    ),
    Case(
        "17 usage on the last choice chunk",
        [ROLE, text_chunk("Hi"), chunk(finish="stop", usage=USAGE)],
        assistant("Hi"),
        usage=USAGE,
    ),
    Case(
        "18 cumulative usage on each chunk",
        [
            ROLE | {"usage": USAGE | {"completion_tokens": 0}},
            text_chunk("Hi", usage=USAGE | {"completion_tokens": 1}),
            chunk(finish="stop", usage=USAGE),
            chunk(choices=[], usage=None),
        ],
        assistant("Hi"),
        usage=USAGE,
    ),
    Case(
        "19 text and tools",
        [ROLE, text_chunk("One moment."), calls_chunk(call(0, "call_a", "weather", '{"city":"Paris"}')), CALLS_STOP],
        assistant("One moment.", tool_calls=[PARIS]),
        finish="tool_calls",
    ),
    Case(
        "21 Azure's first chunk without choices",
        [
            chunk(choices=[], id="", model="", prompt_filter_results=[{"prompt_index": 0}]),
            ROLE,
            text_chunk("Hi"),
            STOP,
        ],
        assistant("Hi"),
    ),
    Case(
        "22 the whole call in the first chunk",
        [
            chunk(
                {"role": "assistant", "content": None, "tool_calls": [call(0, "call_a", "weather", '{"city":"Paris"}')]}
            ),
            CALLS_STOP,
        ],
        assistant(tool_calls=[PARIS]),
        finish="tool_calls",
    ),
]


def wire(chunks: Sequence[dict[str, Any]], *, done: bool = True) -> bytes:
    events = [b"data: " + json.dumps(item, ensure_ascii=False).encode() + b"\n\n" for item in chunks]
    return b"".join(events) + (b"data: [DONE]\n\n" if done else b"")


def assemble(stream: bytes, *, step: int | None = None) -> Completion:
    step = step or len(stream) or 1
    return assemble_blocks(*(stream[start : start + step] for start in range(0, len(stream), step)))


def assemble_blocks(*blocks: bytes) -> Completion:
    parser, assembler = EventParser(max_event_bytes=10_000_000), ChatAssembler()
    for block in blocks:
        for event in parser.feed(block):
            assembler.feed(event)
    for event in parser.finish():
        assembler.feed(event)
    return assembler.finish()


def both_ways(chunks: Sequence[dict[str, Any]], *, done: bool = True) -> Completion:
    stream = wire(chunks, done=done)
    whole = assemble(stream)
    assert assemble(stream, step=1) == whole
    return whole


def every_way(chunks: Sequence[dict[str, Any]], *, done: bool = True) -> Completion:
    """Assemble a stream that comes whole, a byte at a time, and in two blocks cut at every offset."""
    whole, stream = both_ways(chunks, done=done), wire(chunks, done=done)
    assert [at for at in range(1, len(stream)) if assemble_blocks(stream[:at], stream[at:]) != whole] == []
    return whole


def message_of(completion: Completion, place: int = 0) -> JsonValue:
    return json.loads(completion.replies[place].message)
