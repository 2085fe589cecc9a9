"""From rows back to traces and from traces to rows: `lineage.jsonl`, one line for each conversation and example.

It holds ids and places and nothing that anybody said, so it may stay when traces are erased: it then tells what to make
again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from processing.errors import InputError
from processing.example import Conversation, Example
from processing.ledger import Kind, State
from processing.output import lines
from processing.split import Part
from processing.stages import Run
from store.recorded.message import Json

LINEAGE = "lineage.jsonl"
_ENDED = (State.DROPPED, State.FAILED, State.REVIEW)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one conversation or example came from, and what became of it.

    Attributes:
        kind: `conversation` or `example`; the id of an example is that of its row.
        conversation_id: The same as `id` for a conversation.
        source: Where the conversation was read: `traces.jsonl:17`, or the last trace's id.
        trace_ids: Of the calls that wrote its assistant messages, in their order.
        state: Kept, dropped, failed or review.
        file: Where it stands; null for a conversation whose examples stand somewhere.
        line: From 1.
    """

    kind: str
    id: str
    conversation_id: str
    source: str
    trace_ids: tuple[str, ...]
    state: str
    stage: str
    reason: str
    file: str | None
    line: int | None


def lineage_file(
    rows: Sequence[tuple[Part, Mapping[str, Json]]], unstructured: Sequence[Conversation], run: Run
) -> bytes:
    """Write the lineage of a run.

    Args:
        rows: The rows with their parts, as they were written.
        unstructured: The conversations of `unstructured.jsonl`, in order.
        run: For how everything ended.
    """
    places = _places(rows, unstructured, run)
    entries = (
        _entry(kind, name, things[name], run, places.get((kind, name)))
        for kind, things in ((Kind.CONVERSATION, run.conversations), (Kind.EXAMPLE, run.examples))
        for name, _ in run.ledger.ends(kind)
    )
    return lines(asdict(entry) for entry in entries)


def read_lineage(folder: Path) -> Iterator[Entry]:
    """Read the lineage of a run's folder.

    Raises:
        InputError: It has none, or it cannot be read.
    """
    try:
        with (folder / LINEAGE).open("rb") as file:
            yield from parse_lineage(file)
    except FileNotFoundError as exc:
        raise InputError(
            str(folder), f"holds no {LINEAGE}. Run `tracemill process` into it once more: it asks nobody again."
        ) from exc
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise InputError(
            str(folder / LINEAGE), "cannot be read. Run `tracemill process` into the folder once more."
        ) from exc


def parse_lineage(written: Iterable[bytes]) -> Iterator[Entry]:
    """Read lines of a lineage. Raises KeyError, TypeError or ValueError for what is none."""
    names = [field.name for field in fields(Entry)]
    for line in written:
        found = json.loads(line)
        yield Entry(**{**{name: found[name] for name in names}, "trace_ids": tuple(found["trace_ids"])})


def find_rows(folder: Path, beginning: str) -> list[Entry]:
    """Find what has an id that begins like that; an id that is whole finds itself alone."""
    found = [entry for entry in read_lineage(folder) if entry.id.startswith(beginning)]
    return [entry for entry in found if entry.id == beginning] or found


def rows_of_trace(folder: Path, trace: str) -> list[Entry]:
    """Find everything that was made of a trace.

    Args:
        folder: Of the run.
        trace: A trace's id or its beginning, or the place of a line: `traces.jsonl:17`.
    """
    wanted = trace.lower()
    return [
        entry
        for entry in read_lineage(folder)
        if entry.source == trace or any(one.startswith(wanted) for one in (*entry.trace_ids, entry.source))
    ]


def _places(
    rows: Sequence[tuple[Part, Mapping[str, Json]]], unstructured: Sequence[Conversation], run: Run
) -> dict[tuple[Kind, str], tuple[str, int]]:
    """The file and line of everything, counted as the files are written (`processing.dataset_files`)."""
    places: dict[tuple[Kind, str], tuple[str, int]] = {}
    counts: dict[str, int] = {}

    def put(kind: Kind, name: str, file: str) -> None:
        counts[file] = counts.get(file, 0) + 1
        places[kind, name] = (file, counts[file])

    for part, row in rows:
        put(Kind.EXAMPLE, row["row_id"], f"{part}.jsonl")
    for conversation in unstructured:
        put(Kind.CONVERSATION, conversation.id, "unstructured.jsonl")
    for kind in (Kind.CONVERSATION, Kind.EXAMPLE):
        for name, end in run.ledger.ends(kind):
            if end.state in _ENDED:
                put(kind, name, f"{end.state}.jsonl")
    return places


def _entry(kind: Kind, name: str, what: Conversation | Example, run: Run, place: tuple[str, int] | None) -> Entry:
    end = run.ledger.find(kind, name)
    assert end is not None  # noqa: S101 - the ledger is closed
    named = (what.turns[position].trace_id for position in sorted(what.turns))
    return Entry(
        kind=str(kind),
        id=name,
        conversation_id=what.conversation_id if isinstance(what, Example) else name,
        source=what.source,
        trace_ids=tuple(dict.fromkeys(one for one in named if one is not None)),
        state=str(end.state),
        stage=str(end.stage),
        reason=str(end.reason),
        file=None if place is None else place[0],
        line=None if place is None else place[1],
    )
