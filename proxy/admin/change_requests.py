"""How the admin side changes anything: it writes what is asked into a journal of its own, and ingest does it.

A change that was written outlives the loss of power, and is done once. Usually ingest has done it within a few
milliseconds, so whoever asks may wait for that and tell what came of it; where ingest is behind, the answer names the
change and `/admin/api/changes/{id}` tells later.
"""

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from proxy.admin.refusal import AdminRefusal, Code
from proxy.admin.store import AdminStore
from proxy.journal.change_writer import ChangeWriter
from proxy.journal.waiting_change import is_in_journal
from proxy.journal.writer import JOURNAL_FOLDER
from store.change import Change, ChangeKind, ChangeRecord, find_change
from store.uuid7 import uuid7

_PATIENCE_S = 5.0
_LOOK_S = 0.02

_log = logging.getLogger("tracemill.admin")


def new_change(kind: ChangeKind, body: bytes, who: str) -> Change:
    """Make a change that is asked for now; `body` is JSON in the form that the kind's applier reads."""
    return Change(uuid7(), kind, datetime.now(UTC), who, body)


class ChangeRequests:
    """The changes that one admin process asks for.

    Args:
        data_dir: The data directory.
        store: Where it can be seen what became of a change.
        is_on: Whether there is an ingest process that does them; without one nothing is written.
    """

    def __init__(self, data_dir: Path, store: AdminStore, *, is_on: bool = True) -> None:
        self._store = store
        self._is_on = is_on
        self._journals = data_dir / JOURNAL_FOLDER
        self._writer = ChangeWriter(self._journals)

    def refuse_if_off(self) -> None:
        """Refuse what would change the store where nothing does.

        Raises:
            AdminRefusal: The server runs without capture.
        """
        if not self._is_on:
            raise AdminRefusal(
                Code.STORE_UNAVAILABLE, "The server runs with no_capture, which leaves the store as it is."
            )

    async def note(self, *changes: Change) -> None:
        """Write down what is asked; it is on the disk when this returns.

        Raises:
            AdminRefusal: It cannot be written down. It may be done all the same: ask again under the same ids.
        """
        if not self._is_on:
            if any(change.kind is not ChangeKind.EXPORT for change in changes):
                self.refuse_if_off()
            _log.warning("no_capture is on, so an export stands in no audit log")
            return
        try:
            await asyncio.to_thread(self._writer.write, *changes)
        except OSError as exc:
            message = f"The journal cannot be written ({exc.strerror}), so it is not done; ask again."
            raise AdminRefusal(Code.STORE_UNAVAILABLE, message) from exc

    async def ask(self, change: Change, *, patience_s: float = _PATIENCE_S) -> ChangeRecord | None:
        """Write down what is asked and wait until it is applied; raises as `note`.

        Returns:
            What became of it; None when it was not applied in time: it will be.
        """
        await self.note(change)
        clock = asyncio.get_running_loop().time
        deadline = clock() + patience_s
        while True:
            found = await self.find(change.id)
            if found is not None or clock() >= deadline:
                return found
            await asyncio.sleep(_LOOK_S)

    async def find(self, id_: UUID) -> ChangeRecord | None:
        """Tell what became of a change; None while it is not applied."""
        reader = await self._store.reader()
        return None if reader is None else await reader.look(lambda db: find_change(db, id_))

    async def waits(self, id_: UUID) -> bool:
        """Tell whether a change stands in a journal, of whichever process, and ingest has not come to it."""
        return await asyncio.to_thread(is_in_journal, self._journals, id_)

    async def close(self) -> None:
        """Give up the journal; ingest takes in what is left."""
        await asyncio.to_thread(self._writer.close)
