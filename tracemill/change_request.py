"""Asking for changes from the command line, whether or not a server is running on the data directory.

A change is written to a journal first, and so is never lost. A server that is running applies it within a second; when
there is none, the command takes the journals in by itself, exactly as that server would.
"""

import asyncio
import getpass
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from proxy.journal.change_writer import ChangeWriter
from proxy.journal.writer import JOURNAL_FOLDER
from proxy.serve.ingest_process import ingest_as_served
from store.change import Change, ChangeKind, ChangeRecord, find_change
from store.data_files import TRACES_FILE
from store.errors import DatabaseMissingError, StoreError, WriterBusyError
from store.traces import TraceReader
from store.uuid7 import uuid7

_WAIT_S = 30.0
_LOOK_S = 0.05


def make_change(kind: ChangeKind, body: Mapping[str, Any]) -> Change:
    """Make a change that the user of this command asks for now."""
    return Change(uuid7(), kind, datetime.now(UTC), _who(), json.dumps(body).encode())


def ask(data_dir: Path, change: Change, *, wait_s: float = _WAIT_S) -> ChangeRecord | None:
    """Ask for one change and wait until it is applied; see `apply_written` for the errors.

    Returns:
        What became of it; None when a server has it, but did not apply it in time: it will.

    Raises:
        StoreError: It could not be written to the journal; nothing was asked for.
    """
    folder = data_dir / JOURNAL_FOLDER
    try:
        with ChangeWriter(folder) as writer:
            writer.write(change)
    except OSError as exc:
        message = (
            f"{folder}: cannot be written ({exc.strerror or exc}), so nothing was asked for. Mend that, and try again."
        )
        raise StoreError(message, folder) from exc
    return apply_written(data_dir, change.id, wait_s=wait_s)


def apply_written(data_dir: Path, last: UUID, *, wait_s: float = _WAIT_S) -> ChangeRecord | None:
    """Wait until what was written to the journal is applied up to a change, or apply it.

    Raises:
        StoreError: The database cannot be written or read.
    """
    return asyncio.run(_apply(data_dir, last, time.monotonic() + wait_s))


async def _apply(data_dir: Path, last: UUID, deadline: float) -> ChangeRecord | None:
    while True:
        # Each time anew: the server may end while we wait, and then nobody else does it.
        with suppress(WriterBusyError):
            await ingest_as_served(data_dir)
        with suppress(DatabaseMissingError):
            async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
                found = await reader.look(lambda db: find_change(db, last))
                if found is not None:
                    return found
        if time.monotonic() > deadline:
            return None
        await asyncio.sleep(_LOOK_S)


def _who() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
