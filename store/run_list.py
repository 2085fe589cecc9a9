"""The runs that `work.db` knows, for those who look for a row or a trace in all of them."""

import sqlite3
from pathlib import Path
from typing import NamedTuple

from store.connection import run
from store.database import WORK, open_reader, store_error

_RUNS = """
    SELECT j.run_id, j.name, j.out_dir, j.status, e.traces
    FROM jobs j LEFT JOIN run_erasures e USING (run_id)
    ORDER BY coalesce(j.started_at, j.created_at) DESC, j.run_id DESC
"""


class KnownRun(NamedTuple):
    """One run.

    Attributes:
        run_id: UUIDv7 as text.
        out_dir: Absolute path of its folder, which may be gone.
        erased_traces: How many of its traces were erased since it wrote its files; None for none.
    """

    run_id: str
    name: str
    out_dir: str
    status: str
    erased_traces: int | None


async def list_runs(path: Path) -> list[KnownRun]:
    """List all runs of a `work.db`, the latest first.

    Raises:
        StoreError: There is no such file, or it cannot be read.
    """
    connection = await open_reader(path, WORK)
    try:
        rows = await run(connection, lambda db: db.execute(_RUNS).fetchall())
    except sqlite3.Error as exc:
        raise store_error(exc, path) from exc
    finally:
        await connection.close()
    return [KnownRun(*row) for row in rows]
