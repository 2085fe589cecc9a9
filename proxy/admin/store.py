"""The admin side's way to the store: opened when it is there, empty until then.

The admin process starts before ingest has made the database, and must not fail for it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from store.data_files import TRACES_FILE
from store.errors import DatabaseMissingError
from store.traces import Stats, TraceReader

NOTHING = Stats(
    traces=0,
    complete=0,
    by_outcome={},
    by_model={},
    prompt_tokens=0,
    completion_tokens=0,
    request_bytes=0,
    response_bytes=0,
    first_at=None,
    last_at=None,
    nodes=0,
    blobs=0,
    body_bytes=0,
    dead_letters=0,
    bytes_on_disk=0,
)
"""What a store that is not there yet holds."""


class AdminStore:
    """A reader that is opened by the first request that finds a database and kept until `close`."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / TRACES_FILE
        self._reader: TraceReader | None = None

    async def reader(self) -> TraceReader | None:
        """Give the reader, None while there is no database yet.

        Raises:
            StoreError: There is a database that cannot be read; the message says why.
        """
        if self._reader is None:
            opened = await self._open()
            if self._reader is None:
                self._reader = opened
            elif opened is not None:  # another request was faster
                await opened.close()
        return self._reader

    @asynccontextmanager
    async def own_reader(self) -> AsyncIterator[TraceReader | None]:
        """Give a reader for one long answer, so that a slow client holds up nobody else's."""
        reader = await self._open()
        try:
            yield reader
        finally:
            if reader is not None:
                await reader.close()

    async def close(self) -> None:
        """Close the kept reader."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    async def _open(self) -> TraceReader | None:
        try:
            return await TraceReader.open(self._path)
        except DatabaseMissingError:
            return None
