"""Log lines for people or machines, on stderr. No body and no key is ever logged; control characters are escaped."""

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import orjson

_LOUD = ("httpcore2", "httpx2", "aiosqlite", "asyncio")


def set_up_logging(level: str, form: Literal["console", "json"]) -> None:
    """Send the logs of this process to stderr in the form asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if form == "json" else _ConsoleLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # uvicorn tells of every start and stop; the supervisor says what matters of that.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger().level))
    for name in _LOUD:
        # At debug level these print header fields, keys among them.
        logging.getLogger(name).setLevel(logging.WARNING)


class _ConsoleLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return one line: time, level, who, what."""
        when = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        return (
            f"{when} {record.levelname.lower():7} {record.name.removeprefix('tracemill.')}: {_one_line(self, record)}"
        )


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON object in one line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "logger": record.name, "pid": record.process}
        return orjson.dumps({**line, "message": _one_line(self, record)}).decode()


def _one_line(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + formatter.formatException(record.exc_info)
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
