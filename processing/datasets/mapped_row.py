"""A record of a file as a row, by the mapping of its columns."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from processing.datasets.conversation_form import is_conversation, read_answer, read_conversation, text_of_cell
from processing.datasets.mapping import FieldMapping, Target
from processing.datasets.record import Record
from processing.datasets.row_form import RowFault, RowFormError, row_of
from store.datasets.row import Part
from store.recorded.message import Json
from store.recorded.openai_line import read_own_metadata
from store.recorded.source_value import unwrapped

_SPEAKERS: Final = frozenset({"assistant"})
_PARTS: Final = {
    "train": Part.TRAIN,
    "test": Part.TEST,
    "validation": Part.TEST,
    "valid": Part.TEST,
    "val": Part.TEST,
    "dev": Part.TEST,
    "eval": Part.TEST,
    "unstructured": Part.UNSTRUCTURED,
}


class MappedRow(NamedTuple):
    """A row and where it belongs.

    Attributes:
        content: In the form of `processing.datasets.row_form`.
        part: None where the file does not say.
        trailing: Messages after the last answer, which were left out: nothing answers them.
    """

    content: dict[str, Json]
    part: Part | None
    trailing: int


def mapped_row(value: Mapping[str, Json], mapping: FieldMapping, record: Record) -> MappedRow:
    """Make a row of the columns of a record.

    Raises:
        RowFormError: They make none.
    """
    cells = {target: _cell(value, column, record) for target, column in _single(mapping).items()}
    tools, response_format = unwrapped(cells.get(Target.TOOLS)), unwrapped(cells.get(Target.RESPONSE_FORMAT))
    if mapping.column(Target.MESSAGES) is not None:
        messages = read_conversation(cells.get(Target.MESSAGES))
        if messages is None:
            raise RowFormError(RowFault.NO_MESSAGES, "there is no array of messages")
    else:
        messages = _asked(value, mapping, record)
        request = value.get(mapping.columns[Target.PROMPT][0])
        if isinstance(request, dict) and tools is None:
            tools = request.get("tools")
        messages = _answered(messages, cells.get(Target.RESPONSE), mapping)
    messages = _opened(messages, cells.get(Target.SYSTEM))
    whole, trailing = _until_last_answer(messages)
    content = row_of(
        whole,
        tools=None if tools in ([], {}, "") else tools,
        response_format=response_format or None,
        metadata=_metadata(value, mapping),
    )
    return MappedRow(content, part_of(cells.get(Target.PART)) or part_of(record.split), trailing)


def part_of(name: Json) -> Part | None:
    """The part that a split belongs to, by its name (`train`, `test_sft`, `validation`); None for any other."""
    if not isinstance(name, str):
        return None
    plain = name.strip().casefold()
    return _PARTS.get(plain) or _PARTS.get(plain.partition("_")[0].partition("-")[0])


def _single(mapping: FieldMapping) -> dict[Target, str]:
    return {
        target: names[0] for target, names in mapping.columns.items() if target not in (Target.PROMPT, Target.IGNORE)
    }


def _cell(value: Mapping[str, Json], column: str, record: Record) -> Json:
    found = value.get(column)
    # Columns of one type give every object all fields that any of them has.
    return _without_nulls(found) if record.is_columnar and isinstance(found, dict | list) else found


def _asked(value: Mapping[str, Json], mapping: FieldMapping, record: Record) -> list[Json]:
    """The messages before the answer."""
    names = mapping.columns[Target.PROMPT]
    asked = [_cell(value, name, record) for name in names]
    first = asked[0]
    if isinstance(first, dict) and isinstance(first.get("messages"), list):
        return read_conversation(first["messages"]) or []
    is_list = isinstance(first, list) or (isinstance(first, str) and first.lstrip().startswith("["))
    if len(asked) == 1 and is_list and is_conversation(first):
        return read_conversation(first) or []
    texts = [text_of_cell(cell) for cell in asked if cell is not None]
    said = "\n\n".join(text for text in texts if text.strip())
    if not said:
        raise RowFormError(RowFault.NO_PROMPT, f"{' and '.join(names)} {'hold' if len(names) > 1 else 'holds'} nothing")
    return [{"role": "user", "content": said}]


def _answered(asked: list[Json], answer: Json, mapping: FieldMapping) -> list[Json]:
    if answer is None:
        raise RowFormError(RowFault.NO_RESPONSE, f"{mapping.column(Target.RESPONSE)} holds nothing")
    said = read_answer(answer, reads_calls=mapping.reads_calls)
    # What was preferred may be written with all that came before it.
    return said if said[: len(asked)] == asked and len(said) > len(asked) else [*asked, *said]


def _opened(messages: list[Json], system: Json) -> list[Json]:
    if not isinstance(system, str) or not system.strip():
        return messages
    first = messages[0] if messages else None
    if isinstance(first, dict) and first.get("role") in ("system", "developer"):
        return messages
    return [{"role": "system", "content": system}, *messages]


def _until_last_answer(messages: list[Json]) -> tuple[list[Json], int]:
    for end in range(len(messages), 0, -1):
        message = messages[end - 1]
        if isinstance(message, dict) and message.get("role") in _SPEAKERS:
            return messages[:end], len(messages) - end
    return messages, 0


def _metadata(value: Mapping[str, Json], mapping: FieldMapping) -> dict[str, Json]:
    """The metadata as they are; a column never replaces a field of theirs."""
    column = mapping.column(Target.METADATA)
    found: Any = None if column is None else unwrapped(value.get(column))
    if found is not None and not isinstance(found, dict):
        raise RowFormError(RowFault.BAD_METADATA, f"{column} is not an object")
    metadata: dict[str, Json] = dict(found or {})
    for name, source in mapping.metadata.items():
        if source in value and metadata.get(name) is None:
            metadata[name] = value[source]
        elif source in value and metadata[name] != value[source]:
            metadata[f"column_{name}"] = value[source]
    own = read_own_metadata({"metadata": found}) if found else None
    if own is not None:
        metadata.setdefault("source_trace_id", str(own.trace_id))
    _put_right(metadata)
    return metadata


def _put_right(metadata: dict[str, Json]) -> None:
    """Keep what other tools mean by our fields apart from them: a score on another scale, tags that are no list."""
    score = metadata.get("judge_score")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1):
        metadata["uploaded_judge_score"] = metadata.pop("judge_score")
    tags = metadata.get("tags")
    if isinstance(tags, str):
        parsed = unwrapped(tags)
        metadata["tags"] = parsed if isinstance(parsed, list) else [tags]
    elif tags is not None and not isinstance(tags, list):
        metadata["uploaded_tags"] = metadata.pop("tags")
    trace = metadata.get("source_trace_id")
    if trace is not None and not isinstance(trace, str):
        metadata["source_trace_id"] = text_of_cell(trace)


def _without_nulls(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
