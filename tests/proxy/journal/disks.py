"""Disks that fail, stop or end the process at a chosen system call; everything else is the real one."""

import errno
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from proxy.journal.disk import Disk

CALLS = ("open", "write", "writev", "fstat", "fdatasync", "fsync", "mkdir", "rename", "unlink")


class WatchedDisk(Disk):
    """Calls `before` and `after` around each system call, each with the call's name; counts the calls."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        for name in CALLS:
            setattr(self, name, self._watch(name, getattr(Disk, name)))

    def before(self, name: str) -> None: ...

    def after(self, name: str) -> None: ...

    def _watch(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            self.calls[name] += 1
            self.before(name)
            done = call(*arguments)
            self.after(name)
            return done

        return watched


class FailingDisk(WatchedDisk):
    """Refuses the calls of one name from the n-th on, for a number of times."""

    def __init__(self, name: str, nth: int, times: int = 1, code: int = errno.EIO) -> None:
        super().__init__()
        self._name, self._failing, self._code = name, range(nth, nth + times), code
        self.failed = threading.Event()

    def before(self, name: str) -> None:
        if name == self._name and self.calls[name] in self._failing:
            self.failed.set()
            raise OSError(self._code, os.strerror(self._code))


class ShortDisk(WatchedDisk):
    """Writes only the first bytes of the n-th write, as a disk does that fills up."""

    def __init__(self, nth: int, size: int) -> None:
        super().__init__()
        whole = Disk.write

        def write(fd: int, data: bytes) -> int:
            self.calls["short"] += 1
            return whole(fd, data[:size] if self.calls["short"] == nth else data)

        self.write = write  # type: ignore[assignment]


class StuckDisk(WatchedDisk):
    """Holds the calls of one name until it is let go; `reached` tells that one is held."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.reached, self.go = threading.Event(), threading.Event()
        self.done: Counter[str] = Counter()

    def before(self, name: str) -> None:
        if name == self._name:
            self.reached.set()
            assert self.go.wait(30)

    def after(self, name: str) -> None:
        self.done[name] += 1


class DeadlyDisk(WatchedDisk):
    """Ends this process, as `kill -9` does, before or after the n-th call of one name."""

    def __init__(self, name: str, nth: int, *, is_after: bool) -> None:
        super().__init__()
        self._name, self._nth, self._is_after = name, nth, is_after

    def before(self, name: str) -> None:
        self._end_if(name, not self._is_after)

    def after(self, name: str) -> None:
        self._end_if(name, self._is_after)

    def _end_if(self, name: str, is_here: bool) -> None:
        if is_here and name == self._name and self.calls[name] == self._nth:
            os.kill(os.getpid(), signal.SIGKILL)
