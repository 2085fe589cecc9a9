"""Erasing what processing made of traces: teachers' calls go, runs are marked, as `work.db` tells what came from where.

A call that judged several conversations holds the text of all of them: it goes with the verdicts on the others, too,
which are paid for again when they are asked for. What a run has written is not touched, since it may be elsewhere by
now: its folder gets a file `erased.json`, and `tracemill status` tells.
"""

import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from store.clusters.erasing import WALKS as CLUSTERS
from store.connection import connect_sqlite, transaction_now
from store.data_files import WORK_FILE
from store.datasets.erasing import DECISIONS, ROWS
from store.erasing.work_walk import Held, Outcome, Walk
from store.errors import WriterBusyError
from store.forgotten import forgotten_changes
from store.schema_version import WORK, migrate
from store.writer_lock import WriterLock

_log = logging.getLogger("tracemill.store")

MARK_FILE = "erased.json"
INPUTS_FOLDER = ".tracemill-inputs"
"""In a run's folder: what it keeps of its inputs, for itself alone."""
TRACES_COPY = "traces.jsonl.gz"
"""In that folder: the packed copy of the trace file, which holds what others have erased."""
_ROWS_A_STEP = 300
_PLACES_A_WALK = 2**40
"""Places are numbers of rows, those of each walk from its own multiple of this."""
_DELETE_CALL = (
    "DELETE FROM verdicts WHERE call_key = ?",
    "DELETE FROM calls WHERE key = ?",
    "DELETE FROM call_sources WHERE call_key = ?",
)
_DELETE_RUN_SOURCE = "DELETE FROM run_sources WHERE number = ?"
_MARK_RUN = """
    INSERT INTO run_erasures (run_id, erased_at, traces) VALUES (:run_id, :erased_at, :traces)
    ON CONFLICT (run_id) DO UPDATE SET erased_at = excluded.erased_at, traces = traces + excluded.traces
"""
_MARKED = (
    "SELECT e.traces, e.erased_at, j.out_dir FROM run_erasures e JOIN jobs j USING (run_id) WHERE run_id = :run_id"
)


class WorkErased(NamedTuple):
    """What a step came to.

    Attributes:
        place: Where to go on.
        is_done: There is nothing to go on with.
        calls: Teachers' calls that were deleted.
        datasets: Folders of runs and labels of versions that held something of it.
    """

    place: int = 0
    is_done: bool = True
    calls: int = 0
    datasets: tuple[str, ...] = ()


class WorkErasing:
    """Looks `work.db` through for what came from traces that were erased, whenever that was."""

    def __init__(self, data_dir: Path) -> None:
        """Touch nothing yet."""
        self._path = data_dir / WORK_FILE

    def step(self, traces: sqlite3.Connection, place: int) -> WorkErased | None:
        """Go on at a place; None while somebody else writes or reads the file.

        Args:
            traces: The writer's connection to `traces.db`.
            place: 0, or what the last step said.
        """
        if not self._path.exists():
            return WorkErased()
        lock = WriterLock(self._path)
        try:
            lock.acquire_nowait()
        except WriterBusyError:
            return None
        try:
            with self._opened() as work:
                done = _walk(traces, work, place)
                # The last copy is in the log.
                return None if done.is_done and not _cut_log(work) else done
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return None  # whoever opens or closes it has it to itself for a moment, without the lock of writers
        finally:
            lock.release()

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with closing(connect_sqlite(self._path, mode="rw")) as work:
            work.execute("PRAGMA busy_timeout = 0")
            work.execute("PRAGMA secure_delete = ON")
            work.execute("PRAGMA foreign_keys = ON")
            migrate(work, WORK)
            yield work


def _walk(traces: sqlite3.Connection, work: sqlite3.Connection, place: int) -> WorkErased:
    """Look at some rows of the walk that a place is in."""
    number, place_in_walk = divmod(place, _PLACES_A_WALK)
    if number >= len(_WALKS):
        return WorkErased(place)
    walk = _WALKS[number]
    rows = work.execute(walk.sources, {"place": place_in_walk, "count": _ROWS_A_STEP}).fetchall()
    if not rows:
        return WorkErased((number + 1) * _PLACES_A_WALK, is_done=number + 1 == len(_WALKS))
    found = [(row[0], row[1], trace) for row in rows if (trace := _trace_id(row[2])) is not None]
    changes = forgotten_changes(traces, {trace for _, _, trace in found})
    held = [Held(row, key, changes[trace]) for row, key, trace in found if trace in changes]
    outcome = Outcome()
    if held:
        with transaction_now(work):
            outcome = walk.erase(work, held, _now())
        if outcome.then is not None:
            outcome.then()
    return WorkErased(
        number * _PLACES_A_WALK + rows[-1][0], is_done=False, calls=outcome.calls, datasets=outcome.datasets
    )


def _trace_id(written: bytes | str) -> UUID | None:
    """Read the id of a trace; None for what a file called its own."""
    if isinstance(written, bytes):
        return UUID(bytes=written)
    try:
        return UUID(written)
    except ValueError:
        return None


def _erase_calls(work: sqlite3.Connection, held: Sequence[Held], _now: str) -> Outcome:
    keys = [(key,) for key in {one.key for one in held}]
    for statement in _DELETE_CALL:
        work.executemany(statement, keys)
    return Outcome(calls=len(keys))


def _mark_runs(work: sqlite3.Connection, held: Sequence[Held], now: str) -> Outcome:
    runs = Counter(one.key for one in held)
    for run_id, count in runs.items():
        work.execute(_MARK_RUN, {"run_id": run_id, "erased_at": now, "traces": count})
    work.executemany(_DELETE_RUN_SOURCE, [(one.number,) for one in held])
    marked = [work.execute(_MARKED, {"run_id": run_id}).fetchone() for run_id in runs]
    folders = [(Path(row[2]), {"traces": row[0], "erased_at": row[1]}) for row in marked if row is not None]

    def mark() -> None:
        for folder, facts in folders:
            mark_folder(folder, facts)

    return Outcome(datasets=tuple(str(folder) for folder, _ in folders), then=mark)


_WALKS: tuple[Walk, ...] = (
    Walk(
        "SELECT number, call_key, trace_id FROM call_sources WHERE number > :place ORDER BY number LIMIT :count",
        _erase_calls,
    ),
    Walk(
        "SELECT number, run_id, trace_id FROM run_sources WHERE number > :place ORDER BY number LIMIT :count",
        _mark_runs,
    ),
    ROWS,
    DECISIONS,
    *CLUSTERS,
)
"""In their order; a further one comes behind, so that erasures under way go on where they were."""


def mark_folder(folder: Path, facts: dict[str, object]) -> None:
    """Say in a run's folder that it holds what was erased; one that is gone or not ours to write is passed over.

    The run's packed copy of its traces goes: nobody but the run has it.
    """
    if not folder.is_dir():
        return
    try:
        (folder / INPUTS_FOLDER / TRACES_COPY).unlink(missing_ok=True)
        (folder / MARK_FILE).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    except OSError as error:
        _log.warning("%s holds what was erased, and cannot be marked (%s)", folder, error.strerror)


def _cut_log(work: sqlite3.Connection) -> bool:
    return bool(work.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
