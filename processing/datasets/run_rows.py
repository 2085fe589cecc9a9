"""The files of a run as rows of a version: what was kept, and what became an example and ended otherwise.

What depends on where a line stood (`source`) or what the version itself tells (`split`) is no part of a row: the same
traces in another order give the same rows. The place goes into the row's end. The message traces of the filter step
stay in the run's folder: one such call holds the text of other conversations.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from processing.curated import read_example
from processing.datasets.row_form import RowFormError, row_of
from processing.errors import InputError
from processing.ledger import Kind, Reason, Stage, State
from processing.lineage import Entry
from processing.metrics import answer_text
from processing.trace_kind import Step
from store import json_text
from store.datasets.row import Part, Row, RowEnd, RowState, canonical
from store.recorded.message import Json
from store.recorded.message_form import read_messages, text_of, to_openai

Lines = Callable[[str], Iterable[bytes]]
"""Gives the lines of a file of the run by its name."""
_SHAPE: Final[Mapping[str, Json]] = {"teacher_model": None, "judge_score": None, "cluster_id": None, "tags": []}
_ENDED = (State.DROPPED, State.FAILED, State.REVIEW)
_ENDED_FIELDS = frozenset(
    {"kind", "id", "source", "stage", "reason", "detail", "messages", "tools", "response_format", "targets"}
)
_FILTER_COLUMNS = f"{Step.FILTER}__"


def rows_of_run(lines: Lines, entries: Sequence[Entry]) -> Iterator[Row]:
    """Give the rows of a run's files.

    Args:
        lines: Gives the lines of a file by its name.
        entries: The run's lineage; where it knows nothing of `test.jsonl`, that is the person's own test set.

    Raises:
        InputError: A line is not what a run writes.
    """
    known = {(entry.kind, entry.id): entry for entry in entries}
    has_own_test = all(entry.file != "test.jsonl" for entry in entries)
    for part in (Part.TRAIN, Part.TEST):
        if part is Part.TEST and has_own_test:
            yield from _own_test(lines("test.jsonl"))
        else:
            for content in _read(lines, f"{part}.jsonl"):
                yield _kept(content, part, known[Kind.EXAMPLE, content["row_id"]])
    unstructured = sorted((one for one in entries if one.file == "unstructured.jsonl"), key=lambda one: one.line or 0)
    for content, entry in zip(_read(lines, "unstructured.jsonl"), unstructured, strict=True):
        yield _unstructured(content, entry)
    for state in _ENDED:
        for content in _read(lines, f"{state}.jsonl"):
            if content["kind"] == Kind.EXAMPLE:
                yield _ended(content, RowState(state), known[Kind.EXAMPLE, content["id"]])


def _kept(content: dict[str, Json], part: Part, entry: Entry) -> Row:
    metadata = {name: value for name, value in content["metadata"].items() if name not in ("source", "split")}
    teachers = metadata.get("teacher_models") or []
    metadata = {**_SHAPE, "teacher_model": teachers[0] if len(teachers) == 1 else None, **metadata}
    end = RowEnd(RowState.KEPT, entry.stage, entry.reason, {"source": entry.source})
    return Row({**_without_filter(content), "metadata": metadata}, part, end, _sources(entry))


def _ended(content: dict[str, Json], state: RowState, entry: Entry) -> Row:
    messages = read_messages(content["messages"]).messages
    spoken = [position for position, message in enumerate(messages) if message.role == "assistant"]
    targets = [int(position) for position in content.get("targets") or spoken[-1:]]
    written = [to_openai(message) for message in messages]
    for position in spoken:
        written[position]["weight"] = int(position in targets)
    said = [text_of(message) for message in messages[: targets[-1]] if message.role == "user"]
    row: dict[str, Json] = {"row_id": content["id"], "messages": written}
    row |= {name: content[name] for name in ("tools", "response_format") if content.get(name) is not None}
    row |= {
        "prompt": said[-1] if said else None,
        "response": answer_text(messages[targets[-1]]),
        "metadata": {**_SHAPE, **_origin(entry)},
    }
    columns = {name: value for name, value in content.items() if name not in _ENDED_FIELDS}
    detail = {**(content.get("detail") or {}), "source": entry.source}
    end = RowEnd(state, content["stage"], content["reason"], detail)
    return Row({**row, **_without_filter(columns)}, None, end, _sources(entry))


def _unstructured(content: dict[str, Json], entry: Entry) -> Row:
    messages = read_messages(json_text.loads(content["context"].encode())).messages
    written = [to_openai(message) for message in messages]
    for message in written:
        if message["role"] == "assistant":
            message["weight"] = 0
    said = [text_of(message) for message in messages if message.role == "user"]
    row: dict[str, Json] = {"row_id": entry.id, "messages": written}
    row |= {name: content[name] for name in ("tools", "response_format") if content.get(name) is not None}
    row |= {"prompt": said[-1] if said else None, "response": None, "metadata": {**_SHAPE, **_origin(entry)}}
    end = RowEnd(RowState.KEPT, entry.stage, entry.reason, {"source": entry.source})
    return Row(row, Part.UNSTRUCTURED, end, _sources(entry))


def _own_test(lines: Iterable[bytes]) -> Iterator[Row]:
    """The person's own test rows under ids of their content; a second one that teaches the same is `…-2`."""
    found: dict[str, list[Row]] = {}
    for number, line in enumerate((line for line in lines if line.strip()), 1):
        example = read_example(line, number, "test.jsonl")
        given = json.loads(line)
        metadata = {name: value for name, value in given.items() if name not in ("messages", "tools", "metadata")}
        metadata |= given["metadata"] if isinstance(given.get("metadata"), dict) else {}
        try:
            content = row_of(
                [to_openai(message) for message in example.messages],
                tools=example.tools,
                response_format=example.response_format,
                metadata={name: value for name, value in metadata.items() if name not in ("split", "response_format")},
                targets=example.targets,
            )
        except RowFormError as exc:
            raise InputError("test.jsonl", f"is no row of a dataset: {exc.detail}.", line=number) from exc
        end = RowEnd(RowState.KEPT, Stage.OUTPUT, Reason.TEST, {"source": example.source})
        found.setdefault(content["row_id"], []).append(Row(content, Part.TEST, end))
    for row_id, alike in found.items():
        for count, row in enumerate(sorted(alike, key=lambda one: canonical(one.content)), 1):
            named = row_id if count == 1 else f"{row_id}-{count}"
            yield Row({**row.content, "row_id": named}, row.part, row.end)


def _origin(entry: Entry) -> dict[str, Json]:
    return {
        "source_trace_id": entry.trace_ids[-1] if entry.trace_ids else None,
        "source_trace_ids": list(entry.trace_ids),
        "conversation_id": entry.conversation_id,
    }


def _sources(entry: Entry) -> tuple[str, ...]:
    return (*entry.trace_ids, entry.source)


def _without_filter(content: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in content.items() if not name.startswith(_FILTER_COLUMNS)}


def _read(lines: Lines, name: str) -> Iterator[dict[str, Json]]:
    for number, line in enumerate(lines(name), 1):
        try:
            found = json_text.loads(line.rstrip(b"\n"))
        except json_text.JsonTextError as exc:
            raise InputError(name, f"is not what a run writes: {exc}.", line=number) from exc
        yield found
