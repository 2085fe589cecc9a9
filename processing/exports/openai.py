"""OpenAI's files for supervised fine-tuning, which most hosted services read too.

https://platform.openai.com/docs/guides/supervised-fine-tuning: one object a line with `messages`, and with `tools` and
`parallel_tool_calls` where there are any; arguments are text; `weight` is 0 or 1 on assistant messages. Fields that the
service does not know make it refuse the whole file, so they stay behind; calls that have no id get one.
"""

from processing.exports.call_ids import with_call_ids
from processing.exports.chat import arguments_text, call_json, content_json, image_address, lost_of
from processing.exports.converted import Converted
from processing.exports.original import pairs_of
from processing.exports.reason import CannotHoldError, LeftOut, NotCarried
from processing.exports.row import ExportRow, read_row
from store.recorded.message import Json, Message

_KEPT = (NotCarried.NAME, NotCarried.REFUSAL)


def convert(content: Json) -> Converted:
    """Write one line: the whole conversation with its weights."""
    row = read_row(content)
    messages = []
    for position, message in enumerate(with_call_ids(row.messages)):
        fields = openai_message(message)
        if message.role == "assistant":
            fields["weight"] = int(position in row.targets)
        messages.append(fields)
    return Converted(({"messages": messages, **shared_fields(row)},), frozenset(lost_of(row, _KEPT)))


def convert_preference(content: Json) -> Converted:
    """Write a line for each answer that differs from the recorded one, which is the one not preferred."""
    row = read_row(content)
    pairs = pairs_of(row)
    lines = []
    for pair in pairs.found:
        *before, label = map(openai_message, with_call_ids(row.messages[: pair.target + 1]))
        if not before:
            raise CannotHoldError(LeftOut.NO_PROMPT)
        (original,) = map(openai_message, with_call_ids([pair.original]))
        given = {"messages": before, **shared_fields(row)}
        lines.append({"input": given, "preferred_output": [label], "non_preferred_output": [original]})
    lost = lost_of(row, _KEPT) | ({NotCarried.ANSWERS} if pairs.refused else set())
    return Converted(tuple(lines), frozenset(lost))


def shared_fields(row: ExportRow) -> dict[str, Json]:
    """Give what stands beside the messages."""
    fields: dict[str, Json] = {} if row.tools is None else {"tools": row.tools}
    if isinstance(row.content.get("parallel_tool_calls"), bool):
        fields["parallel_tool_calls"] = row.content["parallel_tool_calls"]
    return fields


def openai_message(message: Message) -> dict[str, Json]:
    """Write a message with the fields that the service knows.

    Raises:
        CannotHoldError: A content part is neither text nor an image.
    """
    written: dict[str, Json] = {"role": message.role}
    content = content_json(message, _image)
    if content is not None or not (message.tool_calls or message.refusal):
        written["content"] = "" if content is None else content
    if message.name is not None:
        written["name"] = message.name
    if message.refusal is not None:
        written["refusal"] = message.refusal
    if message.tool_calls:
        written["tool_calls"] = [call_json(call, arguments_text) for call in message.tool_calls]
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return written


def _image(part: Json) -> Json:
    address = image_address(part)
    if address is None:
        raise CannotHoldError(LeftOut.IMAGE, "the image part has no address")
    detail = part["image_url"].get("detail") if isinstance(part.get("image_url"), dict) else part.get("detail")
    return {"type": "image_url", "image_url": {"url": address, **({"detail": detail} if detail else {})}}
