"""Who buys the answer to a question right now, in this process or another: a lock for each key of the call table.

A byte of the lock file beside `work.db`, far behind what is written there, stands for each key. Its lock belongs to an
open file (`F_OFD_SETLK`, fcntl(2)), so it needs no cleaning up and ends with its holder, whatever kills it.
"""

import asyncio
import errno
import fcntl
import logging
import os
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

_log = logging.getLogger("tracemill.store")

_FLOCK = "hhqqi"
"""Of Linux: type, where the start counts from, start, length, process."""
_PLACE_BYTES = 7
"""Of a key: as many as give a place that a file can have. Two keys of one place would only wait for each other."""
_FIRST_WAIT_S = 0.02
_LONGEST_WAIT_S = 0.5
_TOLD_AFTER_S = 15.0
"""The other run may have been halted, and nobody would know why this one stands still."""


class CallLocks:
    """The locks as one opener of `work.db` holds them.

    Where the system knows no such locks (they are Linux's, and some sandboxes leave them out), those who ask at once
    in different processes buy an answer each.
    """

    def __init__(self, database: Path) -> None:
        """Touch nothing yet."""
        self._path = database.with_name(database.name + ".lock")
        self._here: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._descriptor: int | None = None
        self._works = sys.platform == "linux"
        self._has_told = False

    def close(self) -> None:
        """Give back what is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @asynccontextmanager
    async def held(self, key: bytes) -> AsyncIterator[None]:
        """Have a key for oneself, waiting until nobody else has it."""
        here = self._here.setdefault(key, asyncio.Lock())
        async with here:
            await self._wait_for_others(key)
            try:
                yield
            finally:
                self._set(key, fcntl.F_UNLCK)

    async def _wait_for_others(self, key: bytes) -> None:
        clock = asyncio.get_running_loop().time
        began_at, wait_s = clock(), _FIRST_WAIT_S
        while not self._set(key, fcntl.F_WRLCK):
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            if clock() - began_at > _TOLD_AFTER_S and not self._has_told:
                self._has_told = True
                _log.warning(
                    "another run asks the same, and its answer is waited for. Was it halted? Stop it or let it go on"
                )

    def _set(self, key: bytes, kind: int) -> bool:
        """Take a lock or give it back; False while another has it."""
        if not self._works:
            return True
        place = int.from_bytes(key[:_PLACE_BYTES]) + 1
        try:
            fcntl.fcntl(self._opened(), fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, place, 1, 0))
        except OSError as exc:
            if exc.errno in (errno.EAGAIN, errno.EACCES):
                return False
            self._works = False
        return True

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._descriptor
