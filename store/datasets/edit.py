"""Editing a row: a person writes what the assistant should have said; all else stays as it was recorded.

The answers that were there stay in the metadata (`edited_from`), so that an edit can be shown beside them and taken
back, and goes with the row when the row is erased.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from store import json_text
from store.errors import DatasetError
from store.recorded.answer_text import answer_text
from store.recorded.errors import MessageFormError
from store.recorded.message import Message
from store.recorded.message_form import argument_flags, read_messages, text_of

Json = Any
_BY: Final = "edited_by"
_FROM: Final = "edited_from"
_CLEARED: Final[Mapping[str, Json]] = {
    "teacher_model": None,
    "judge_score": None,
    "judge_scores": None,
    "judge_reason": None,
    "judge_model": None,
    "judge_call": None,
    "judge_problem": None,
}
"""What is said of the answer that was there, and no more of the one that a person wrote."""


def learned_positions(messages: Sequence[Mapping[str, Json]]) -> list[int]:
    """Give the positions of the messages that are learned from."""
    return [position for position, message in enumerate(messages) if message.get("weight") == 1]


def edited(content: Mapping[str, Json], messages: Sequence[Json], who: str) -> dict[str, Json]:
    """Give a row with other answers.

    Args:
        content: The row; one that was edited before keeps what it held before the first edit.
        messages: All messages, as they are to be; only those with a weight of 1 may differ from the row's.
        who: Who wrote them.

    Raises:
        DatasetError: Another message differs, or an answer cannot be one: no message, empty, or with broken arguments.
    """
    base = unedited(content)
    before: list[dict[str, Json]] = base["messages"]
    written = _checked(base, before, messages)
    metadata: dict[str, Json] = dict(base.get("metadata") or {})
    cleared = {name: value for name, value in _CLEARED.items() if name in metadata}
    changed = {name: metadata[name] for name in cleared}
    positions = learned_positions(before)
    kept = {
        "answers": [json_text.dumps(before[at]).decode("utf-8", "surrogatepass") for at in positions],
        "response": base.get("response"),
        "metadata": changed,
    }
    last = read_messages([written[positions[-1]]]).messages[0]
    return {
        **base,
        "messages": written,
        "response": answer_text(last) or last.refusal or "",
        "metadata": {**metadata, **cleared, _BY: who, _FROM: kept},
    }


def unedited(content: Mapping[str, Json]) -> dict[str, Json]:
    """Give the row as it was before it was edited; a row that never was, as it is."""
    metadata: dict[str, Json] = dict(content.get("metadata") or {})
    kept = metadata.pop(_FROM, None)
    if not isinstance(kept, Mapping):
        return dict(content)
    metadata.pop(_BY, None)
    metadata.update(kept["metadata"])
    messages = list(content["messages"])
    for position, answer in zip(learned_positions(messages), _answers(kept), strict=True):
        messages[position] = answer
    return {**content, "messages": messages, "response": kept["response"], "metadata": metadata}


def answers_before(content: Mapping[str, Json]) -> list[dict[str, Json]] | None:
    """Give the answers that were there before a person edited them; None where nobody did."""
    kept = (content.get("metadata") or {}).get(_FROM)
    return _answers(kept) if isinstance(kept, Mapping) else None


def is_edited(content: Mapping[str, Json]) -> bool:
    """Whether a person wrote the answers."""
    return isinstance((content.get("metadata") or {}).get(_FROM), Mapping)


def _answers(kept: Mapping[str, Json]) -> list[dict[str, Json]]:
    return [json_text.loads(answer.encode("utf-8", "surrogatepass")) for answer in kept["answers"]]


def _checked(
    content: Mapping[str, Json], before: Sequence[Mapping[str, Json]], messages: Sequence[Json]
) -> list[dict[str, Json]]:
    if len(messages) != len(before):
        raise DatasetError(
            f"the edit has {len(messages)} messages and the row {len(before)}; answers alone may change."
        )
    learned = learned_positions(before)
    written: list[dict[str, Json]] = []
    for position, (old, new) in enumerate(zip(before, messages, strict=True)):
        if position not in learned:
            if new != old:
                raise DatasetError(f"message {position} of the edit differs from the row's; answers alone may change.")
            written.append(dict(old))
            continue
        if not isinstance(new, Mapping) or new.get("role") != "assistant":
            raise DatasetError(f"message {position} of the edit is not an assistant message.")
        written.append({**new, "weight": 1})
    if not learned:
        raise DatasetError("nothing is learned from this row, so there is no answer to edit.")
    for position in learned:
        _check_answer(written[position], position, content)
    return written


def _check_answer(written: Mapping[str, Json], position: int, content: Mapping[str, Json]) -> None:
    try:
        read = read_messages([written]).messages
        json_text.dumps(dict(written))
    except (MessageFormError, json_text.JsonTextError, TypeError) as exc:
        raise DatasetError(f"message {position} of the edit is no chat message: {exc}") from exc
    if len(read) != 1:
        raise DatasetError(f"message {position} of the edit holds several messages.")
    message = read[0]
    if not (message.tool_calls or message.refusal or text_of(message).strip()):
        raise DatasetError(f"message {position} of the edit says nothing; reject the row, or write an answer.")
    offered = _offered(content)
    for call in message.tool_calls:
        if argument_flags(call.arguments):
            raise DatasetError(
                f"message {position} of the edit calls {call.name!r} with arguments that are not one JSON object."
            )
        if offered and call.name not in offered:
            raise DatasetError(
                f"message {position} of the edit calls {call.name!r}; the tools of this row are {', '.join(offered)}."
            )
    if _wants_json(content) and not message.tool_calls and not message.refusal and not _is_json(message):
        raise DatasetError(f"message {position} of the edit is not JSON, which the row's response_format asks for.")


def _offered(content: Mapping[str, Json]) -> list[str]:
    definitions = [tool.get("function", tool) for tool in content.get("tools") or () if isinstance(tool, Mapping)]
    return [str(one["name"]) for one in definitions if isinstance(one, Mapping) and one.get("name")]


def _wants_json(content: Mapping[str, Json]) -> bool:
    wanted = content.get("response_format")
    return isinstance(wanted, Mapping) and wanted.get("type") in ("json_object", "json_schema")


def _is_json(message: Message) -> bool:
    try:
        json.loads(text_of(message))
    except (ValueError, RecursionError):
        return False
    return True
