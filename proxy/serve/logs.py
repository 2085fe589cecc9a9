"""Log lines for people or machines, on stderr: one line for each event, and nothing in it that a call holds.

No body, no key and no query string is ever logged. Our own messages are written that way; what others say is not taken
on trust: of an exception that is not ours only its kind and place are told, for its text may quote what it choked on.
Control characters are escaped, so that no path or model name can forge a line or command a terminal. A line that comes
again and again is said a few times and then counted, so that a fault under load cannot fill the disk with its story.
"""

import asyncio
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

import orjson

_LOUD = ("httpcore2", "httpx2", "aiosqlite", "asyncio")
_OWN_ROOMS = ("proxy.", "store.", "processing.", "tracemill.")
_FRAMES = 12
"""Of an exception's way up; the innermost say the most."""
_BURST = 10
_BURST_S = 10.0
_PLACES = 256
"""Lines of code whose repetition is watched at once; there are fewer that log anything."""

_log = logging.getLogger("tracemill")


def set_up_logging(level: str, form: Literal["console", "json"]) -> None:
    """Send the logs of this process to stderr in the form asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if form == "json" else _ConsoleLines())
    handler.addFilter(Repetition())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # uvicorn tells of every start and stop; the supervisor says what matters of that.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger().level))
    for name in _LOUD:
        # At debug level these print header fields, keys among them.
        logging.getLogger(name).setLevel(logging.WARNING)


def log_the_unforeseen() -> None:
    """Log what the interpreter and the logging itself would print in their own words; for a process without a user."""
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False
    threading.excepthook = _on_thread_error
    sys.unraisablehook = _on_unraisable
    sys.excepthook = _on_crash


def on_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what the event loop could give to nobody: its own way shows handles and protocols with all they hold."""
    # A callback is named with its arguments, and those may be bytes of a call.
    what = re.split("[(<]", context.get("message", ""), maxsplit=1)[0].strip()
    _log.error("in the event loop: %s", what or "an error", exc_info=context.get("exception"))


def _on_crash(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        _log.critical("this process ends by an error that nobody foresaw", exc_info=error)


def _on_thread_error(failure: threading.ExceptHookArgs) -> None:
    name = failure.thread.name if failure.thread else "unknown"
    _log.error("the thread %s ended by an error", name, exc_info=failure.exc_value)


def _on_unraisable(failure: Any) -> None:  # noqa: ANN401 - its type has a name for type checkers only
    _log.error("an error where none can be raised", exc_info=failure.exc_value)


class Repetition(logging.Filter):
    """Lets a line of code log ten times in ten seconds; says with the next line how many it kept back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Have seen nothing."""
        super().__init__()
        self._clock = clock
        self._guard = threading.Lock()
        self._seen: dict[tuple[str, int], list[float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is to be written; mark it with how many before it were not."""
        now = self._clock()
        place = (record.pathname, record.lineno)
        with self._guard:
            began, written, kept_back = self._seen.get(place, (now, 0, 0))
            if now - began >= _BURST_S:
                began, written = now, 0
            if written >= _BURST:
                self._seen[place] = [began, written, kept_back + 1]
                return False
            if len(self._seen) >= _PLACES:
                self._seen.clear()
            self._seen[place] = [began, written + 1, 0]
        if kept_back:
            record.msg, record.args = f"{record.getMessage()} (and {kept_back:.0f} more like it before)", None
        return True


class _ConsoleLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return one line: time, level, who, what."""
        when = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        name = record.name.removeprefix("tracemill.")
        error = _told_error(record)
        return f"{when} {record.levelname.lower():7} {name}: {_message(record)}{f' | {error}' if error else ''}"


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON object in one line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": when,
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": _message(record),
        }
        error = _told_error(record)
        return orjson.dumps({**line, "error": error} if error else line).decode()


def _message(record: logging.LogRecord) -> str:
    return _escaped(record.getMessage())


def _told_error(record: logging.LogRecord) -> str | None:
    """Tell the exception of a record: where it came from, and its text only when it is one of ours."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    told: list[str] = []
    while error is not None and len(told) < 4:
        told.append(_told_one(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return _escaped(" from ".join(told)) if told else None


def _told_one(error: BaseException) -> str:
    kind = type(error)
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = ", ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
    text = ""
    if kind.__module__.startswith(_OWN_ROOMS):
        text = f": {error}"
    elif isinstance(error, OSError) and error.strerror:
        text = f": {error.strerror}"
    return f"{kind.__name__}{text} (Traceback: {places or 'none'})"


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
