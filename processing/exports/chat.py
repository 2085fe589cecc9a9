"""Messages and tool calls in the forms that targets share."""

import re
from collections.abc import Callable, Iterable, Sequence

from processing.exports.reason import CannotHoldError, LeftOut, NotCarried
from processing.exports.row import ExportRow
from store import json_text
from store.recorded.message import Json, Message, ToolCall

TEXT_PARTS = ("text", "input_text", "output_text")
_BIG_EXPONENT = re.compile(r"[eE][+-]?[0-9]{3}|[0-9]{300}")
IMAGE_PARTS = ("image_url", "input_image", "image")


def arguments_of(call: ToolCall) -> dict[str, Json]:
    """Read the arguments of a call as an object.

    Raises:
        CannotHoldError: `invalid_arguments`, or `number_out_of_range` for a float that is none, such as 1e400.
    """
    try:
        # Servers write "" for a tool without arguments.
        value = json_text.loads(call.arguments.encode("utf-8", "surrogatepass")) if call.arguments.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise CannotHoldError(LeftOut.INVALID_ARGUMENTS, "the arguments of a call are not JSON") from exc
    if not isinstance(value, dict):
        raise CannotHoldError(LeftOut.INVALID_ARGUMENTS, "the arguments of a call are not an object")
    if _BIG_EXPONENT.search(call.arguments) and not _is_writable(value):
        raise CannotHoldError(LeftOut.NUMBER_OUT_OF_RANGE, "in the arguments of a call")
    return value


def arguments_text(call: ToolCall) -> Json:
    """Give the arguments as the text that the model wrote."""
    return call.arguments


def call_json(call: ToolCall, arguments: Callable[[ToolCall], Json]) -> dict[str, Json]:
    """Write a tool call in OpenAI's form."""
    identity = {} if call.id is None else {"id": call.id}
    return {**identity, "type": "function", "function": {"name": call.name, "arguments": arguments(call)}}


def content_json(message: Message, image: Callable[[Json], Json] | None) -> Json:
    """Write the content of a message: text as it is, parts one by one.

    Args:
        message: Whose content.
        image: Makes the target's part of an image part; None where the target has no room for images.

    Raises:
        CannotHoldError: `image`, or `other_part`.
    """
    if not isinstance(message.content, list):
        return message.content
    return [_part(part, image) for part in message.content]


def message_json(
    message: Message, image: Callable[[Json], Json], arguments: Callable[[ToolCall], Json]
) -> dict[str, Json]:
    """Write a message as open chat templates take it, with its reasoning.

    Args:
        message: What is written.
        image: Makes the target's part of an image part.
        arguments: Makes the target's arguments of a call.

    Raises:
        CannotHoldError: As `content_json`, or what `image` and `arguments` raise.
    """
    written: dict[str, Json] = {"role": message.role}
    content = content_json(message, image)
    if content is not None or not message.tool_calls:
        written["content"] = (message.refusal or "") if content is None else content
    if message.reasoning is not None:
        written["reasoning_content"] = message.reasoning
    if message.tool_calls:
        written["tool_calls"] = [call_json(call, arguments) for call in message.tool_calls]
    if message.name is not None:
        written["name"] = message.name
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return written


def plain_text(message: Message) -> str:
    """Write the content of a message as one text.

    Raises:
        CannotHoldError: It holds something that is no text.
    """
    content = content_json(message, None)
    if isinstance(content, list):
        return "".join(part["text"] for part in content)
    return content or ""


def image_address(part: Json) -> str | None:
    """Give the address in an image part of whatever dialect; None when it has none."""
    value = part.get("image_url", part.get("image", part.get("url")))
    if isinstance(value, dict):
        value = value.get("url")
    return value if isinstance(value, str) else None


def tools_text(row: ExportRow) -> str:
    """Write the tool definitions as JSON text; empty without any."""
    return "" if row.tools is None else json_text.dumps(row.tools).decode()


def lost_of(row: ExportRow, kept: Iterable[NotCarried] = ()) -> set[NotCarried]:
    """Tell what a row has that a target with messages and tools alone has no field for.

    Args:
        row: What is written.
        kept: What this target has room for all the same.
    """
    found = set()
    for message in row.messages:
        found |= {
            loss
            for loss, is_there in (
                (NotCarried.REASONING, message.reasoning),
                (NotCarried.NAME, message.name),
                (NotCarried.REFUSAL, message.refusal),
                (NotCarried.MESSAGE_FIELDS, message.extra),
            )
            if is_there
        }
    if row.content.get("response_format") is not None:
        found.add(NotCarried.RESPONSE_FORMAT)
    if any(value not in (None, [], {}) for value in row.metadata.values()):
        found.add(NotCarried.METADATA)
    if row.columns:
        found.add(NotCarried.COLUMNS)
    return found - set(kept)


def answers(messages: Sequence[Message]) -> list[int]:
    """Give the positions of the assistant messages."""
    return [position for position, message in enumerate(messages) if message.role == "assistant"]


def _is_writable(value: Json) -> bool:
    try:
        json_text.dumps(value)
    except json_text.JsonTextError:
        return False
    return True


def _part(part: Json, image: Callable[[Json], Json] | None) -> Json:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in TEXT_PARTS and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind in IMAGE_PARTS:
        if image is None:
            raise CannotHoldError(LeftOut.IMAGE)
        return image(part)
    raise CannotHoldError(LeftOut.OTHER_PART, f"a content part of type {str(kind)[:40]!r}")
