"""TRL's conversational forms: a prompt with its completion, a whole conversation, and a pair to prefer within.

https://huggingface.co/docs/trl/dataset_formats. Chat templates write arguments themselves, so here they are objects:
given as text, many templates would put quotes round them once more. Images stand in a column of their own, in the
order of the `image` parts.
"""

from collections.abc import Sequence

from processing.exports.chat import answers, arguments_of, lost_of, message_json
from processing.exports.converted import Converted
from processing.exports.image import Image, inline_image
from processing.exports.original import pairs_of
from processing.exports.reason import CannotHoldError, LeftOut, NotCarried
from processing.exports.row import ExportRow, read_row
from store.recorded.message import Json, Message

_KEPT = (NotCarried.NAME, NotCarried.REASONING)


def convert(content: Json) -> Converted:
    """Write a line for each answer that is learned: what stands before it, and it alone.

    That is exact for any weights, and trains the same with any chat template.
    """
    row = read_row(content)
    lines = []
    for target in row.targets:
        prompt, images = _prompt(row.messages[:target])
        lines.append(_line(row, images, prompt=prompt, completion=[_answer(row.messages[target])]))
    return Converted(tuple(lines), frozenset(lost_of(row, _KEPT)))


def convert_messages(content: Json) -> Converted:
    """Write the whole conversation as one line, to be trained with `assistant_only_loss`."""
    row = read_row(content)
    if unlearned := set(answers(row.messages)) - set(row.targets):
        raise CannotHoldError(LeftOut.UNTRAINED_ANSWER, f"message {min(unlearned)}; `trl` holds such rows")
    images: list[Image] = []
    messages = [_message(message, images) for message in row.messages]
    if row.targets[0] == 0:
        raise CannotHoldError(LeftOut.NO_PROMPT)
    return Converted((_line(row, images, messages=messages),), frozenset(lost_of(row, _KEPT)))


def convert_preference(content: Json) -> Converted:
    """Write a line for each answer that differs from the recorded one: the label is chosen, the recorded rejected."""
    row = read_row(content)
    pairs = pairs_of(row)
    lines = []
    for pair in pairs.found:
        prompt, images = _prompt(row.messages[: pair.target])
        chosen, rejected = [_answer(row.messages[pair.target])], [_answer(pair.original)]
        lines.append(_line(row, images, prompt=prompt, chosen=chosen, rejected=rejected))
    lost = lost_of(row, _KEPT) | ({NotCarried.ANSWERS} if pairs.refused else set())
    return Converted(tuple(lines), frozenset(lost))


def _line(row: ExportRow, images: list[Image], **fields: Json) -> dict[str, Json]:
    tools = {} if row.tools is None else {"tools": row.tools}
    return {"row_id": row.id, **fields, **tools, **({"images": images} if images else {})}


def _prompt(messages: Sequence[Message]) -> tuple[list[Json], list[Image]]:
    if not messages:
        raise CannotHoldError(LeftOut.NO_PROMPT)
    images: list[Image] = []
    return [_message(message, images) for message in messages], images


def _answer(message: Message) -> dict[str, Json]:
    """An answer; one that holds an image cannot be learned as text."""
    images: list[Image] = []
    written = _message(message, images)
    if images:
        raise CannotHoldError(LeftOut.IMAGE, "the answer holds an image")
    return written


def _message(message: Message, images: list[Image]) -> dict[str, Json]:
    def image(part: Json) -> Json:
        images.append(inline_image(part))
        return {"type": "image"}

    return message_json(message, image, arguments_of)
