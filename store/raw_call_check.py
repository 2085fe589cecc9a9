"""Reading every pack of raw calls, and holding it against what the database says of it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from store import finding
from store.finding import Finding
from store.id_list import number_list
from store.raw_call_files import FOLDER, RawCallFiles
from store.raw_call_pack import DamagedPackError, RawCallBytes, decode_pack

_PAGE = 200
_MOST_NAMED = 100
_PACKS = """
    SELECT number, segment, offset, size, calls, first_trace, last_trace FROM raw_packs
    WHERE number > :after ORDER BY number LIMIT :count
"""
_STILL = """
    SELECT EXISTS (SELECT 1 FROM raw_packs WHERE number = :number AND calls = :calls AND first_trace = :first_trace)
"""
_IDS = "SELECT t.number, t.id FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value"


def check_raw_calls(connection: sqlite3.Connection, data_dir: Path) -> Iterator[Finding]:
    """Read all packs; those that are pruned or erased from meanwhile are passed over.

    Args:
        connection: A database of today's schema, with rows that can be taken by name.
        data_dir: Where the folder of the files lies.
    """
    files = RawCallFiles(data_dir / FOLDER)
    after, packs, calls, wrong = 0, 0, 0, []
    while rows := connection.execute(_PACKS, {"after": after, "count": _PAGE}).fetchall():
        after = rows[-1]["number"]
        for row in rows:
            fault = _fault(connection, files, row)
            if fault is None:
                packs, calls = packs + 1, calls + row["calls"]
            elif connection.execute(_STILL, dict(row)).fetchone()[0]:
                wrong.append(f"pack {row['number']} in {files.path(row['segment']).name} at {row['offset']}: {fault}")
    facts = {"packs": packs, "calls": calls}
    if wrong:
        what = f"{len(wrong):,} of {len(wrong) + packs:,} packs of raw calls; the first: {wrong[0]}."
        yield Finding(finding.RAW_CALLS_DAMAGED, what, {**facts, "count": len(wrong), "found": wrong[:_MOST_NAMED]})
    elif packs:
        yield Finding(finding.RAW_CALLS, f"{calls:,} raw calls in {packs:,} packs were read.", facts)


def _fault(connection: sqlite3.Connection, files: RawCallFiles, row: sqlite3.Row) -> str | None:
    try:
        calls = decode_pack(files.read(row["segment"], row["offset"], row["size"]))
    except DamagedPackError:
        return "it is damaged"
    except OSError as error:
        return f"its file cannot be read ({error.strerror})"
    numbers = [call.number for call in calls]
    if (len(calls), numbers[:1], numbers[-1:]) != (row["calls"], [row["first_trace"]], [row["last_trace"]]):
        return "it holds other calls than the database says"
    ids = {found[0]: found[1] for found in connection.execute(_IDS, number_list(numbers))}
    other = [call for call in calls if _is_of_another(call, ids)]
    return f"{len(other)} of its calls are of other traces than the database says" if other else None


def _is_of_another(call: RawCallBytes, ids: dict[int, bytes]) -> bool:
    return ids.get(call.number, call.id) != call.id
