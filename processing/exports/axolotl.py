"""axolotl's `chat_template` rows: messages with `train`, arguments and tools as JSON text.

https://docs.axolotl.ai/docs/dataset-formats/conversation.html. Both texts are what it asks for lest the reader's types
break on arguments of several shapes; it parses them itself, and stops at what is no JSON.
"""

from processing.exports.chat import answers, arguments_of, image_address, lost_of, message_json, tools_text
from processing.exports.converted import Converted
from processing.exports.reason import CannotHoldError, LeftOut, NotCarried
from processing.exports.row import read_row
from store.recorded.message import Json, Message, ToolCall

_KEPT = (NotCarried.NAME, NotCarried.REASONING)


def convert(content: Json) -> Converted:
    """Write the whole conversation as one line; `train` says of each message whether it is learned."""
    row = read_row(content)
    if row.targets[0] == 0:
        raise CannotHoldError(LeftOut.NO_PROMPT)
    has_image = [False]
    messages = []
    for position, message in enumerate(row.messages):
        messages.append({**_message(message, has_image), "train": position in row.targets})
    if has_image[0] and set(answers(row.messages)) - set(row.targets):
        # Its multimodal strategy masks by role and looks at no message's own mark.
        raise CannotHoldError(LeftOut.UNTRAINED_ANSWER, "in a row with images every answer is learned")
    line = {"row_id": row.id, "messages": messages, "tools": tools_text(row) or None}
    return Converted(
        ({name: value for name, value in line.items() if value is not None},), frozenset(lost_of(row, _KEPT))
    )


def _message(message: Message, has_image: list[bool]) -> dict[str, Json]:
    def image(part: Json) -> Json:
        has_image[0] = True
        address = image_address(part)
        if address is None:
            raise CannotHoldError(LeftOut.IMAGE, "the image part has no address")
        head, comma, data = address.partition(";base64,")
        return (
            {"type": "image", "base64": data}
            if comma and head.startswith("data:")
            else {"type": "image", "url": address}
        )

    return message_json(message, image, _checked_text)


def _checked_text(call: ToolCall) -> str:
    arguments_of(call)
    return call.arguments if call.arguments.strip() else "{}"
