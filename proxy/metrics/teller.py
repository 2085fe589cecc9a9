"""Telling a process's counts: a thread that writes the snapshot when something changed, and once more at the end."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from proxy.metrics.counts import Counts
from proxy.metrics.folder import snapshot_path, tell

_log = logging.getLogger("tracemill.metrics")

INTERVAL_S = 0.25
"""How old a snapshot can be, and so what a `kill -9` can take from the counts."""
_SIGN_OF_LIFE_S = 5.0


class Teller:
    """Writes the snapshots of one process, from a thread of its own: a slow disk must not stop the event loop."""

    def __init__(self, folder: Path | None, process: str, take: Callable[[], Counts]) -> None:
        """Start the thread.

        Args:
            folder: Where snapshots lie; None to tell nobody.
            process: The role of this process: `worker`, `ingest`, …
            take: Gives the counts as they are now; called on the thread.
        """
        self._process = process
        self._take = take
        self._path = None if folder is None else snapshot_path(folder, process)
        self._told: Counts | None = None
        self._is_failing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._tell_forever, name="metrics", daemon=True)
        if self._path is not None:
            self._thread.start()

    def close(self) -> None:
        """Tell the last counts and end the thread; a second call does nothing."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _tell_forever(self) -> None:
        is_last = False
        while True:
            try:
                self._tell()
            except Exception as error:  # noqa: BLE001 - counting must not end because one reading failed
                if not self._is_failing:
                    _log.warning("metrics of this process cannot be told (%s); trying again", type(error).__name__)
                self._is_failing = True
            else:
                self._is_failing = False
            if is_last:
                return
            is_last = self._closing.wait(INTERVAL_S)

    def _tell(self) -> None:
        """Write a snapshot if it says something new, or as a sign of life."""
        now = time.time()
        counts = self._take()
        counts.process = self._process
        if self._told is not None:
            counts.told_at = self._told.told_at
            if counts == self._told and 0 <= now - self._told.told_at < _SIGN_OF_LIFE_S:
                return
        counts.told_at = now
        if self._path is not None:
            tell(self._path, counts)
            self._told = counts
