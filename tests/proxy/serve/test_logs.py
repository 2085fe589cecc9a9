"""Log lines: one for each event, whatever it holds, and nothing that a call holds."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProxyError
from proxy.serve.logs import Repetition, on_loop_error, set_up_logging

HOSTILE = "\x1b[2Jgone\r\n12:00:00 error   relay: forged\x00\u202e\u2028\x9b1m\ud800"


class Lines:
    """What was written to stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """What is written to stderr after `set_up_logging`; the root logger is put back."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield Lines(capsys)
    root.handlers[:], root.level = before, level


def told(lines: Lines) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


@pytest.mark.parametrize("form", ["console", "json"])
def test_nothing_can_forge_a_line_or_command_a_terminal(lines: Lines, form: Any) -> None:
    set_up_logging("info", form)
    logging.getLogger("tracemill.relay").warning("no route for %s", HOSTILE)
    text = lines.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert "gone" in text


@given(st.text())
def test_every_text_is_one_printable_line(text: str) -> None:
    for form in ("console", "json"):
        record = logging.LogRecord("tracemill.x", logging.INFO, __file__, 1, "%s", (text,), None)
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter_of(form))
        handler.handle(record)
        assert stream.getvalue()[:-1].isprintable()
        if form == "json":
            json.loads(stream.getvalue())


def formatter_of(form: Any) -> logging.Formatter:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    set_up_logging("info", form)
    formatter = root.handlers[0].formatter
    root.handlers[:], root.level = before, level
    assert formatter is not None
    return formatter


def test_a_json_line_tells_who_when_and_how_bad(lines: Lines) -> None:
    set_up_logging("info", "json")
    logging.getLogger("tracemill.ingest").error("it is %d o'clock", 5)
    logging.getLogger("tracemill.ingest").debug("not asked for")
    (line,) = told(lines)
    assert (line["level"], line["logger"], line["message"]) == ("error", "tracemill.ingest", "it is 5 o'clock")
    assert line["time"].endswith("+00:00")
    assert isinstance(line["pid"], int)
    assert "error" not in line


def fail(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as caught:  # noqa: BLE001
        return caught


def test_a_foreign_exceptions_text_is_not_told_for_it_may_quote_the_call(lines: Lines) -> None:
    set_up_logging("info", "json")
    log = logging.getLogger("tracemill.relay")
    try:
        int("sk-canary")
    except ValueError as error:
        log.error("serving a call failed", exc_info=error)  # noqa: TRY400
    log.error("told", exc_info=fail(ProxyError("ours \x1b"), fail(KeyError("sk-canary"))))
    log.error("no room", exc_info=fail(OSError(28, "No space left on device")))
    first, second, third = (line["error"] for line in told(lines))
    assert "canary" not in lines.getvalue()
    assert first.startswith("ValueError (Traceback: test_logs.py:")
    assert second.startswith("ProxyError: ours \\x1b (Traceback: test_logs.py:")
    assert " from KeyError (Traceback: " in second
    assert third.startswith("OSError: No space left on device (")


async def test_what_an_event_loop_holds_is_not_told(lines: Lines) -> None:
    set_up_logging("info", "json")
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(on_loop_error)

    def choke(data: bytes) -> None:
        raise ValueError(data)

    loop.call_soon(choke, b"Authorization: sk-canary")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (line,) = told(lines)
    assert line["message"].startswith("in the event loop: Exception in callback")
    assert "ValueError" in line["error"]
    assert "canary" not in lines.getvalue()


def test_a_line_that_repeats_is_said_ten_times_and_then_counted() -> None:
    now = 0.0
    repetition = Repetition(clock=lambda: now)

    def record(line: int) -> logging.LogRecord:
        return logging.LogRecord("tracemill.x", logging.WARNING, "x.py", line, "no room for %d", (5,), None)

    assert [repetition.filter(record(1)) for _ in range(40)] == [True] * 10 + [False] * 30
    assert repetition.filter(record(2))
    now = 10.0
    later = record(1)
    assert repetition.filter(later)
    assert later.getMessage() == "no room for 5 (and 30 more like it before)"
    again = record(1)
    assert repetition.filter(again)
    assert again.getMessage() == "no room for 5"


CRASHES = """
import threading, warnings
from proxy.serve.logs import log_the_unforeseen, set_up_logging
set_up_logging("info", "json")
log_the_unforeseen()
class Odd:
    def __del__(self): raise ValueError("sk-canary 1")
Odd()
def run(): raise ValueError("sk-canary 2")
thread = threading.Thread(target=run, name="t1"); thread.start(); thread.join()
import logging
logging.getLogger("tracemill.x").info("%d", "sk-canary 3")
raise ValueError("sk-canary 4")
"""


def test_no_crash_tells_more_than_its_kind_and_place() -> None:
    done = subprocess.run([sys.executable, "-c", CRASHES], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["error", "error", "critical"]
    assert all(line["error"].startswith("ValueError (Traceback: ") for line in lines)
    assert lines[1]["message"] == "the thread t1 ended by an error"
    assert "canary" not in done.stderr + done.stdout
