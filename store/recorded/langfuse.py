"""Langfuse observations, as documented and as they really come.

The documented line is `id`, `input` (messages), `output` (an array of `{toolCallId, toolName, input}`) and
`metadata.tools` (JSON-encoded definitions). Real exports put into `input` and `output` whatever the integration saw:
the whole request and the whole completion, as objects or as JSON text, a bare string, AI SDK results, Responses items.
Each shape is recognised by the fields that make it what it is; text that merely happens to be JSON stays text.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from store import json_text
from store.recorded.call import RecordedCall, make_call, read_metadata, read_tools
from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json, Turn


class _Reply(NamedTuple):
    message: dict[str, Json] | None
    finish_reason: str | None = None
    model: str | None = None


def is_observation(value: Mapping[str, Json]) -> bool:
    """Whether the line looks like an observation, for `observation_format: auto`."""
    return "input" in value or "output" in value


def read_observation(value: Mapping[str, Json], source: str) -> list[RecordedCall]:
    """Read one observation: one recorded call, or one per choice when the completion holds several.

    Raises:
        LineError: `not_generation`, `level_error`, `no_input_output`, `no_messages`, `bad_message` or `bad_tools`.
    """
    kind = value.get("type")
    if isinstance(kind, str) and kind.upper() != "GENERATION":
        raise LineError(RejectReason.NOT_GENERATION, f"the observation's type is {kind[:40]}")
    if value.get("level") == "ERROR":
        raise LineError(RejectReason.LEVEL_ERROR, "the observation's level is ERROR")
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
    metadata = {name: field for name, field in metadata.items() if name != "tools"}
    replies = _read_output(value.get("output"))
    return [
        make_call(
            [*request["messages"], *([] if reply.message is None else [reply.message])],
            source,
            tools=tools,
            response_format=response_format,
            metadata=metadata,
            turn=Turn(
                trace_id=_text(value.get("id")),
                model=reply.model or _text(value.get("model")) or _text(request.get("model")),
                finish_reason=reply.finish_reason,
            ),
        )
        for reply in replies
    ]


def _read_input(value: Json) -> dict[str, Json]:
    """Bring an input to `{messages, tools?, functions?, response_format?, model?}`."""
    parsed = _unwrapped(value)
    if isinstance(parsed, str):
        return {"messages": [{"role": "user", "content": parsed}]}
    if isinstance(parsed, list):
        return {"messages": parsed}
    if isinstance(parsed, dict):
        for name in ("messages", "prompt", "input"):
            inner = _unwrapped(parsed.get(name))
            if isinstance(inner, list):
                return {**parsed, "messages": inner}
            if isinstance(inner, str) and inner:
                return {**parsed, "messages": [{"role": "user", "content": inner}]}
    raise LineError(RejectReason.NO_MESSAGES, "input holds no messages: expected an array, {messages}, or a string")


def _unwrapped(value: Json) -> Json:
    """What JSON text holds when it is a request or an array of messages; any other text is the prompt itself."""
    parsed = _json_or_none(value)
    if isinstance(parsed, dict) and ("messages" in parsed or "prompt" in parsed):
        return parsed
    if isinstance(parsed, list) and parsed and all(isinstance(item, dict) and "role" in item for item in parsed):
        return parsed
    return value


def _read_output(value: Json) -> list[_Reply]:
    """Bring an output to the assistant messages it holds; one without message when there is none."""
    if isinstance(value, str):
        parsed = _json_or_none(value)
        if not _is_reply(parsed):
            return [_Reply({"role": "assistant", "content": value})]
        value = parsed
    if value is None or value == []:
        return [_Reply(None)]
    if isinstance(value, list):
        return [_Reply(_from_items(value))]
    if isinstance(value, dict):
        return _from_object(value)
    return [_Reply({"role": "assistant", "content": json_text.dumps(value).decode()})]


def _is_reply(value: Json) -> bool:
    """Whether parsed JSON text is a recorded reply, and not an answer that was asked for in JSON."""
    if isinstance(value, dict):
        return isinstance(value.get("choices"), list) or (value.get("role") == "assistant") or _is_responses(value)
    return isinstance(value, list) and bool(value) and all(isinstance(i, dict) and "toolName" in i for i in value)


def _is_responses(value: Mapping[str, Json]) -> bool:
    return isinstance(value.get("output"), list) and value.get("object") == "response"


def _from_object(value: Mapping[str, Json]) -> list[_Reply]:
    if isinstance(value.get("choices"), list):
        return _from_completion(value)
    if isinstance(value.get("output"), list):
        return [_Reply(_from_items(value["output"]), model=_text(value.get("model")))]
    if value.get("role") is not None or any(name in value for name in ("content", "tool_calls", "function_call")):
        return [_Reply({**value, "role": value.get("role") or "assistant"})]
    if "toolCalls" in value or "text" in value:
        finish_reason = _text(value.get("finishReason"))
        message = {"role": "assistant", "content": value.get("text"), "toolCalls": value.get("toolCalls")}
        return [_Reply(message, finish_reason)]
    return [_Reply({"role": "assistant", "content": _dumped(value)})]


def _from_completion(value: Mapping[str, Json]) -> list[_Reply]:
    choices = [choice for choice in value["choices"] if isinstance(choice, dict)]
    model = _text(value.get("model"))
    replies = [
        _Reply(choice["message"], _text(choice.get("finish_reason")), model)
        for choice in choices
        if isinstance(choice.get("message"), dict)
    ]
    return replies or [_Reply(None, model=model)]


def _from_items(items: Sequence[Json]) -> dict[str, Json]:
    """Fold an array of calls, parts or Responses items into one assistant message."""
    if any(not isinstance(item, dict) for item in items):
        raise LineError(RejectReason.BAD_MESSAGE, "output is an array that holds something other than objects")
    if len(items) == 1 and items[0].get("role") == "assistant" and "type" not in items[0]:
        return dict(items[0])
    content: list[Json] = []
    calls: list[Json] = []
    reasoning: list[str] = []
    for item in items:
        if "toolName" in item or item.get("type") == "function_call" or "function" in item:
            calls.append({**item, "id": item.get("call_id")} if item.get("call_id") is not None else item)
        elif item.get("type") == "reasoning":
            reasoning += _summary(item.get("summary"))
        elif item.get("role") == "assistant":
            inner = item.get("content")
            content += inner if isinstance(inner, list) else [{"type": "text", "text": inner}] if inner else []
        elif item.get("type") in ("text", "output_text"):
            content.append(item)
        else:
            raise LineError(RejectReason.BAD_MESSAGE, "output is an array of a shape that is not known")
    return {
        "role": "assistant",
        "content": _joined(content),
        "tool_calls": calls or None,
        "reasoning_content": "".join(reasoning) or None,
    }


def _summary(value: Json) -> list[str]:
    parts = value if isinstance(value, list) else []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]


def _joined(parts: Sequence[Json]) -> Json:
    if not parts:
        return None
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    return "".join(str(text) for text in texts) if all(isinstance(text, str) for text in texts) else list(parts)


def _dumped(value: Json) -> str:
    try:
        return json_text.dumps(value).decode()
    except ValueError as exc:
        raise LineError(RejectReason.BAD_MESSAGE, "output holds a value that JSON does not have (NaN)") from exc


def _json_or_none(value: Json) -> Json:
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(value, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
