"""Single keys from a terminal, without Enter and without an echo."""

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

END = ""
"""The terminal has gone away, or Ctrl-D was pressed."""
_CONTROL_D = "\x04"


class Keyboard:
    """Reads one key at a time from standard input; leaves the terminal as it was.

    Usage:
        with Keyboard() as keys: ...
    """

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd, termios.TCSAFLUSH)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def forget(self) -> None:
        """Throw away what was typed so far: a key held down, or pasted text, decides nothing about rows yet to come."""
        termios.tcflush(self._fd, termios.TCIFLUSH)

    async def key(self) -> str:
        """Wait for a key; one that sends several characters (an arrow, pasted text) comes as what was sent."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._fd, readable.set)
        try:
            await readable.wait()
            found = os.read(self._fd, 64).decode("utf-8", "replace")
        finally:
            loop.remove_reader(self._fd)
        return END if found == _CONTROL_D else found

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give the terminal to another program as it was, and take it back."""
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
        try:
            yield
        finally:
            tty.setcbreak(self._fd, termios.TCSAFLUSH)
