"""Answers of every dialect, made plain and as a stream of the same content, cut at random."""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import Any

from proxy.assembly.completion import Completion
from proxy.assembly.dialect import DIALECTS
from proxy.assembly.endpoint import Endpoint
from proxy.assembly.sse import EventParser
from store import json_text

Json = dict[str, Any]


def cut(text: str, random: Random) -> list[str]:
    """Cut a text into pieces at random; some are empty."""
    cuts = sorted(random.choices(range(len(text) + 1), k=random.randint(0, 4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def interleaved(queues: Sequence[Iterator[Json]], random: Random) -> Iterator[Json]:
    """Take from the queues in any order, from each in its own."""
    waiting = list(queues)
    while waiting:
        queue = random.choice(waiting)
        try:
            yield next(queue)
        except StopIteration:
            waiting.remove(queue)


def wire(events: Sequence[Json], *, named: bool = False, done: bool = True) -> bytes:
    """Write events as a server does, under their type's name where the dialect names them."""
    lines = []
    for event in events:
        name = f"event: {event['type']}\n".encode() if named else b""
        lines.append(name + b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n")
    return b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")


def assemble(endpoint: Endpoint, stream: bytes, cuts: Sequence[int] = ()) -> Completion:
    """Read a stream that came in blocks cut at these offsets."""
    parser, assembler = EventParser(max_event_bytes=10_000_000), DIALECTS[endpoint].assembler()
    edges = [0, *sorted(cuts), len(stream)]
    for start, end in pairwise(edges):
        for event in parser.feed(stream[start:end]):
            assembler.feed(event)
    for event in parser.finish():
        assembler.feed(event)
    return assembler.finish()


def byte_by_byte(endpoint: Endpoint, stream: bytes) -> Completion:
    return assemble(endpoint, stream, range(1, len(stream)))


def read_plain(endpoint: Endpoint, answer: Json) -> Completion:
    return DIALECTS[endpoint].read_answer(json_text.compact(json.dumps(answer, ensure_ascii=False).encode()))


def told(completion: Completion) -> dict[str, Any]:
    """Everything a completion says, as values: white space is the server's choice."""
    return {
        "replies": [
            (
                reply.index,
                json.loads(reply.message),
                reply.finish_reason,
                json.loads(reply.logprobs) if reply.logprobs else None,
            )
            for reply in completion.replies
        ],
        "usage": json.loads(completion.usage) if completion.usage else None,
        "model": completion.served_model,
        "id": completion.upstream_id,
        "flags": completion.flags,
        "is_error": completion.error is not None,
    }


# OpenAI's text completions --------------------------------------------------------------------------------------------


def text_stream(answer: Json, random: Random) -> list[Json]:
    base = {"id": answer["id"], "object": "text_completion", "model": answer["model"]}

    def chunks(choice: Json) -> Iterator[Json]:
        logprobs = choice["logprobs"]
        for place, piece in enumerate(cut(choice["text"], random)):
            made = {"index": choice["index"], "text": piece, "logprobs": None, "finish_reason": None}
            if logprobs is not None and place == 0:
                made["logprobs"] = logprobs
            yield {**base, "choices": [made]}
        yield {
            **base,
            "choices": [
                {"index": choice["index"], "text": "", "logprobs": None, "finish_reason": choice["finish_reason"]}
            ],
        }

    return [
        *interleaved([chunks(choice) for choice in answer["choices"]], random),
        {**base, "choices": [], "usage": answer["usage"]},
    ]


# Anthropic's messages -------------------------------------------------------------------------------------------------


def message_stream(answer: Json, random: Random) -> list[Json]:
    start = {**answer, "content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = {**answer["usage"], "output_tokens": 1}
    events: list[Json] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(answer["content"]):
        empty, deltas = _block_deltas(block, random)
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        for delta in deltas:
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
            if random.random() < 0.2:
                events.append({"type": "ping"})
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": answer["stop_reason"], "stop_sequence": answer["stop_sequence"]}
    usage = {"output_tokens": answer["usage"]["output_tokens"]}
    events.append({"type": "message_delta", "delta": end, "usage": usage})
    events.append({"type": "message_stop"})
    return events


def _block_deltas(block: Json, random: Random) -> tuple[Json, list[Json]]:
    match block["type"]:
        case "text":
            deltas: list[Json] = [{"type": "text_delta", "text": piece} for piece in cut(block["text"], random)]
            citations = block.get("citations") or ()
            deltas += [{"type": "citations_delta", "citation": citation} for citation in citations]
            return {**block, "text": "", **({"citations": []} if citations else {})}, deltas
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(block["thinking"], random)]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {"type": "thinking", "thinking": "", "signature": ""}, deltas
        case "tool_use" | "server_tool_use":
            pieces = cut(json.dumps(block["input"], ensure_ascii=False), random) if block["input"] else [""]
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        case _:
            return block, []


# OpenAI's responses ---------------------------------------------------------------------------------------------------

_SHOWN = {
    "output_text": ("content", "output_text", "text"),
    "refusal": ("content", "refusal", "refusal"),
    "reasoning_text": ("content", "reasoning_text", "text"),
    "summary_text": ("summary", "reasoning_summary_text", "text"),
}


def response_stream(answer: Json, random: Random) -> list[Json]:
    begun = {**answer, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    events: list[Json] = [{"type": "response.created", "response": begun}]
    events.append({"type": "response.in_progress", "response": begun})
    events += interleaved(
        [_item_events(index, item, random) for index, item in enumerate(answer["output"])],
        random,
    )
    events.append({"type": f"response.{answer['status']}", "response": answer})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _item_events(index: int, item: Json, random: Random) -> Iterator[Json]:
    where = {"output_index": index, "item_id": item.get("id", "item")}
    empty = {**item, **({"status": "in_progress"} if "status" in item else {})}
    empty |= {name: [] for name in ("content", "summary") if isinstance(item.get(name), list)}
    empty |= {name: "" for name in ("arguments", "input") if isinstance(item.get(name), str)}
    yield {"type": "response.output_item.added", "output_index": index, "item": empty}
    for name in ("summary", "content"):
        for place, part in enumerate(item.get(name) or ()):
            listed, shown, field = _SHOWN[part["type"]]
            at = {**where, f"{listed}_index": place}
            kind = "reasoning_summary_part" if listed == "summary" else "content_part"
            begun = {**part, field: ""}
            yield {"type": f"response.{kind}.added", **at, "part": begun}
            for piece in cut(part[field], random):
                yield {"type": f"response.{shown}.delta", **at, "delta": piece}
            yield {"type": f"response.{shown}.done", **at, field: part[field]}
            yield {"type": f"response.{kind}.done", **at, "part": part}
    for field, shown in (("arguments", "function_call_arguments"), ("input", "custom_tool_call_input")):
        if isinstance(item.get(field), str):
            for piece in cut(item[field], random):
                yield {"type": f"response.{shown}.delta", **where, "delta": piece}
            yield {"type": f"response.{shown}.done", **where, field: item[field]}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}
