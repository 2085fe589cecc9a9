"""LLaMA-Factory's sharegpt form: `conversations` of human, gpt, function_call and observation, strictly in turn.

https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md. Its files have no weight of one message: a trainer
learns every answer, or with `mask_history` the last alone. So each answer that is learned gets a line of its own, which
ends with it, to be trained with `mask_history: true`.
"""

from collections.abc import Sequence
from itertools import pairwise

from processing.exports.chat import arguments_of, content_json, lost_of, tools_text
from processing.exports.converted import Converted
from processing.exports.image import Image, inline_image
from processing.exports.reason import CannotHoldError, LeftOut, NotCarried
from processing.exports.row import SYSTEM_ROLES, leading_system, read_row
from store import json_text
from store.recorded.message import Json, Message

FOLDER = "images"
_MARK = "<image>"
_MARKS = (_MARK, "<video>", "<audio>")
_ANSWER = ("gpt", "function_call")


def convert(content: Json) -> Converted:
    """Write a line for each answer that is learned; images become files beside it."""
    row = read_row(content)
    files: dict[str, Image] = {}
    lines = []
    for target in row.targets:
        before, answer = row.messages[:target], row.messages[target]
        system = leading_system(before)
        if system > 1 or any(message.role in SYSTEM_ROLES for message in before[system:]):
            raise CannotHoldError(LeftOut.LATE_SYSTEM_MESSAGE, "there are several system messages, or one later on")
        images: list[Image] = []
        turns = [_turn(message, images) for message in (*before[system:], answer)]
        _require_turns(turns)
        line: dict[str, Json] = {
            "row_id": row.id,
            "conversations": turns,
            "system": _text(before[0], images) if system else "",
            "tools": tools_text(row),
        }
        if images:
            line["images"] = [f"{FOLDER}/{image.name}" for image in images]
            files |= {f"{FOLDER}/{image.name}": image for image in images}
        lines.append(line)
    lost = lost_of(row) | ({NotCarried.CALL_IDS} if _has_ids(row.messages) else set())
    return Converted(tuple(lines), frozenset(lost), files)


def _turn(message: Message, images: list[Image]) -> dict[str, str]:
    text = _text(message, images)
    if message.role == "tool":
        return {"from": "observation", "value": text}
    if message.role != "assistant":
        return {"from": "human", "value": text}
    if not message.tool_calls:
        return {"from": "gpt", "value": text or message.refusal or ""}
    if text.strip():
        raise CannotHoldError(LeftOut.CALL_WITH_TEXT)
    calls = [{"name": call.name, "arguments": arguments_of(call)} for call in message.tool_calls]
    return {"from": "function_call", "value": json_text.dumps(calls[0] if len(calls) == 1 else calls).decode()}


def _text(message: Message, images: list[Image]) -> str:
    def image(part: Json) -> Json:
        images.append(inline_image(part))
        return {"type": "image"}

    content = content_json(message, image)
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    texts = [part.get("text") for part in parts]
    if any(mark in text for text in texts if text for mark in _MARKS):
        raise CannotHoldError(LeftOut.MARK_IN_TEXT)
    return "".join(_MARK if text is None else text for text in texts)


def _require_turns(turns: Sequence[dict[str, str]]) -> None:
    for one, two in pairwise(turns):
        if one["from"] == two["from"] == "observation":
            raise CannotHoldError(LeftOut.SEVERAL_TOOL_RESULTS)
    is_answer = [turn["from"] in _ANSWER for turn in turns]
    if len(turns) < 2 or is_answer != [bool(position % 2) for position in range(len(turns))]:
        raise CannotHoldError(LeftOut.TURNS_DO_NOT_ALTERNATE)


def _has_ids(messages: Sequence[Message]) -> bool:
    return any(message.tool_call_id or any(call.id for call in message.tool_calls) for message in messages)
