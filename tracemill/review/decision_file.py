"""Review outside the terminal: the chosen rows as JSON Lines, and back with a decision on each line.

A line holds the row and an empty `decision`. Whoever reviews writes `accept`, `reject`, `skip` or `edit` there, for an
edit also other answers into `messages`, and may add a `note`. Lines without a decision are passed over. A file is taken
whole or not at all, and never for a row that has changed since: `learned_hash` tells.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from processing.errors import InputError
from store import json_text
from store.datasets.dataset_store import DatasetStore
from store.datasets.decided_row import decision_hash
from store.datasets.decision import DecisionKind
from store.datasets.edit import unedited
from store.datasets.review import Queued, Wanted, decide_all
from store.datasets.row import Row
from store.datasets.version import Version
from tracemill.review.editor import EditError, checked

Json = Any
_KINDS: Final = (DecisionKind.ACCEPT, DecisionKind.EDIT, DecisionKind.REJECT, DecisionKind.SKIP)
_SHOWN: Final = 5


def line_of(queued: Queued) -> dict[str, Json]:
    """Write one row of the queue, with what was decided already."""
    row, decision = queued.row, queued.decision
    end = {**asdict(row.end), "state": str(row.end.state)}
    return {
        "row_id": row.row_id,
        "learned_hash": decision_hash(row.content),
        "why": list(queued.why),
        "end": {name: end[name] for name in ("state", "stage", "reason")},
        "decision": None if decision is None else str(decision.kind),
        "who": None if decision is None else decision.who,
        "note": None if decision is None else decision.note,
        **{name: value for name, value in row.content.items() if name != "row_id"},
    }


def write_lines(path: Path, queued: Sequence[Queued]) -> None:
    """Write the rows that wait into a file.

    Raises:
        OSError: It cannot be written.
    """
    lines = [line_of(one) for one in queued if one.decision is None]
    path.write_bytes(b"".join(json_text.dumps(line) + b"\n" for line in lines))


async def apply_lines(path: Path, store: DatasetStore, version: Version, who: str) -> dict[str, int]:
    """Apply the decisions of a file, all or none; tell how many of each kind.

    Raises:
        InputError: The file cannot be read, or lines of it cannot be applied; names them.
    """
    raw = _read_file(path)
    wanted: list[Wanted] = []
    problems: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            found = await _read(line, store, version)
        except EditError as exc:
            problems.append(f"line {number}: {exc}")
            continue
        if found is not None and found.row_id in seen:
            problems.append(f"line {number}: row {found.row_id} stands in the file twice.")
        elif found is not None:
            seen.add(found.row_id)
            wanted.append(found)
    if problems:
        more = f" And {len(problems) - _SHOWN} more." if len(problems) > _SHOWN else ""
        raise InputError(path.name, f"nothing was decided. {' '.join(problems[:_SHOWN])}{more}")
    await decide_all(store, version, wanted, who=who)
    counts = Counter(str(one.kind) for one in wanted)
    return {str(kind): counts[str(kind)] for kind in _KINDS}


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise InputError(str(path), f"cannot be read: {exc.strerror}.") from exc


async def _read(line: bytes, store: DatasetStore, version: Version) -> Wanted | None:
    """Read one line; None for one without a decision. Raises EditError when it cannot be applied."""
    try:
        value = json_text.loads(line)
    except (ValueError, RecursionError) as exc:
        raise EditError(f"this is not JSON ({exc}).") from exc
    if not isinstance(value, Mapping) or not isinstance(value.get("row_id"), str):
        raise EditError("this is no object with a row_id.")
    if value.get("decision") is None:
        return None
    try:
        kind = DecisionKind(value["decision"])
    except ValueError:
        kind = DecisionKind.UNDO
    if kind not in _KINDS:
        said = json.dumps(value["decision"])[:40]
        raise EditError(f"the decision is {said}; expected one of {', '.join(_KINDS)}.")
    row = await store.row(version, value["row_id"])
    if row is None:
        raise EditError(f"{version.label} has no row {value['row_id'][:60]!r}.")
    if value.get("learned_hash") not in (None, decision_hash(row.content)):
        raise EditError(f"row {row.row_id} has changed since. Export it again.")
    note = value.get("note")
    if note is not None and not isinstance(note, str):
        raise EditError("the note is not a text.")
    return Wanted(row.row_id, kind, note, _messages(value, row) if kind is DecisionKind.EDIT else None)


def _messages(value: Mapping[str, Json], row: Row) -> list[Json]:
    messages = value.get("messages")
    if not isinstance(messages, list):
        raise EditError("an edit needs messages.")
    if messages == unedited(row.content)["messages"]:
        raise EditError(f"row {row.row_id} is to be edited, and its messages are as they were. Write accept?")
    return checked(row.content, messages)
