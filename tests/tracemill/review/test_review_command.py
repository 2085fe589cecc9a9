"""`tracemill review` as a person gives it: on a terminal, without one, and by file."""

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.command_line import run_here
from tests.tracemill.review.reviewing import HOSTILE, a_store, row
from tracemill.cli import app

DEADLINE_S = 30.0


class Terminal:
    """`tracemill review` on a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str, editor: str = "true") -> None:
        self._ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.shown = ""
        environ = {**os.environ, "EDITOR": editor, "COLUMNS": "150", "TERM": "xterm"}
        environ.pop("VISUAL", None)
        self.process = subprocess.Popen(
            [*COMMAND, "review", "tickets", *arguments, "--data-dir", str(folder / "data")],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environ,
            start_new_session=True,
            # The terminal's Ctrl-C reaches the process it is the controlling terminal of.
            preexec_fn=lambda: _take_terminal(theirs),
        )

    def press(self, key: str) -> None:
        os.write(self._ours, key.encode())

    def wait_for(self, text: str, after: int = 0) -> int:
        """Read until a text is there; give the place behind it."""
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.shown[after:]:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.shown[-2000:]!r}"
            if select.select([self._ours], [], [], 0.05)[0]:
                self.shown += os.read(self._ours, 65536).decode("utf-8", "replace")
        return self.shown.index(text, after) + len(text)

    def end(self) -> int:
        """Wait until it has ended; give its exit code."""
        deadline = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            if select.select([self._ours], [], [], 0.05)[0]:
                self.shown += os.read(self._ours, 65536).decode("utf-8", "replace")
        while select.select([self._ours], [], [], 0)[0]:
            self.shown += os.read(self._ours, 65536).decode("utf-8", "replace")
        return self.process.returncode

    @property
    def is_as_it_was(self) -> bool:
        return termios.tcgetattr(self._theirs) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


def _take_terminal(fd: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


COMMAND = [sys.executable, "-m", "tracemill.cli"]
ASKED = "[?] help"


def run(folder: Path, *arguments: object) -> CompletedProcess[str]:
    return run_here([*arguments, "--data-dir", folder / "data"])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a dataset of four doubtful tickets."""
    rows = [
        row(f"ticket {n} {HOSTILE}", f"label{n}", agreement=n / 10, original_response=f"{HOSTILE} old")
        for n in range(4)
    ]

    async def make() -> None:
        (tmp_path / "data").mkdir()
        async with a_store(tmp_path / "data", rows):
            pass

    asyncio.run(make())
    return tmp_path


def queue(shop: Path) -> list[Any]:
    done = CliRunner().invoke(app, ["review", "tickets", "--json", "--data-dir", str(shop / "data")])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def test_single_keys_on_a_terminal_decide_and_a_second_visit_goes_on(shop: Path, terminals: list[Terminal]) -> None:
    editor = shop / "editor.sh"
    editor.write_text("#!/bin/sh\nprintf 'mine\\n' > \"$1\"\n")
    editor.chmod(0o700)
    first = Terminal(shop, "--who", "ann", editor=str(editor))
    terminals.append(first)
    place = 0
    for key in "aeru":
        place = first.wait_for(ASKED, place)
        first.press(key)
    place = first.wait_for("(1 accepted, 1 edited)", place)
    place = first.wait_for(ASKED, place)
    first.press("q")
    assert first.end() == 0
    assert "1 accepted, 1 edited, 0 rejected, 0 skipped, 2 left" in first.shown
    assert first.is_as_it_was
    decided = [(line["decision"], line["who"], line["response"]) for line in queue(shop)]
    assert sorted(str(decision) for decision, *_ in decided) == ["None", "None", "accept", "edit"]
    assert ("edit", "ann", "mine") in decided
    second = Terminal(shop, "--who", "bob")
    terminals.append(second)
    place = second.wait_for("row 3 of 4")
    second.wait_for(ASKED, place)
    second.press("\x04")
    assert second.end() == 0
    # Of what rows say nothing reaches the terminal: colours and line ends alone are ours.
    said = re.sub(r"\x1b\[[0-9;]*m", "", first.shown + second.shown)
    assert not [character for character in said if character not in "\r\n" and not character.isprintable()]
    assert "\\u001b[2J" in said


def test_what_is_typed_before_a_row_is_shown_decides_nothing(shop: Path, terminals: list[Terminal]) -> None:
    terminal = Terminal(shop)
    terminals.append(terminal)
    terminal.press("rrrr")
    place = terminal.wait_for(ASKED)
    terminal.press("\x1b[A")
    place = terminal.wait_for("take back the last decision", place)
    terminal.wait_for(ASKED, place)
    terminal.press("q")
    assert terminal.end() == 0
    assert {line["decision"] for line in queue(shop)} == {None}


def test_control_c_leaves_the_terminal_as_it_was_and_keeps_what_was_decided(
    shop: Path, terminals: list[Terminal]
) -> None:
    terminal = Terminal(shop)
    terminals.append(terminal)
    place = terminal.wait_for(ASKED)
    terminal.press("a")
    terminal.wait_for(ASKED, place)
    terminal.press("\x03")
    assert terminal.end() == 130
    assert "Traceback" not in terminal.shown
    assert terminal.is_as_it_was
    assert [line["decision"] for line in queue(shop)].count("accept") == 1


def test_control_c_in_the_editor_is_the_editors(shop: Path, terminals: list[Terminal]) -> None:
    editor = shop / "editor.sh"
    editor.write_text("#!/bin/sh\ntrap 'echo mine > \"$1\"; exit 0' INT\necho editing\nwhile :; do sleep 0.05; done\n")
    editor.chmod(0o700)
    terminal = Terminal(shop, editor=str(editor))
    terminals.append(terminal)
    terminal.wait_for(ASKED)
    terminal.press("e")
    place = terminal.wait_for("editing")
    terminal.press("\x03")
    terminal.wait_for("1 edited", place)
    os.kill(terminal.process.pid, signal.SIGTERM)
    assert terminal.end() == 130
    assert terminal.is_as_it_was


def test_without_a_terminal_it_is_refused_with_the_way_out(shop: Path) -> None:
    done = run(shop, "review", "tickets")
    assert done.returncode == 2
    assert "--export FILE" in done.stderr
    assert len(run(shop, "datasets", "versions", "tickets", "--json").stdout.splitlines()) == 1


def test_decisions_are_made_outside_and_applied_all_or_none(shop: Path) -> None:
    path = shop / "review.jsonl"
    assert run(shop, "review", "tickets", "--export", path).returncode == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 4
    assert lines[0]["why"][0] == "low_agreement"
    lines[0]["decision"], lines[0]["note"] = "accept", "fine"
    lines[1]["decision"] = "edit"
    lines[1]["messages"][-1]["content"] = "mine"
    lines[2]["decision"] = "reject"
    good = "".join(json.dumps(line) + "\n" for line in lines)
    broken = [
        good + "{nonsense\n",
        good + json.dumps({**lines[3], "row_id": "gone", "decision": "accept"}),
        good + json.dumps({**lines[3], "decision": "maybe"}),
        good + json.dumps({**lines[3], "decision": "undo"}),
        good + json.dumps({**lines[3], "decision": "edit"}),
        good + json.dumps({**lines[3], "decision": "accept", "learned_hash": "00" * 20}),
        good + json.dumps(lines[0]),
        good + json.dumps({**lines[3], "decision": "edit", "messages": []}),
    ]
    for text in broken:
        path.write_text(text)
        failed = CliRunner().invoke(
            app, ["review", "tickets", "--apply", str(path), "--who", "ann", "--data-dir", str(shop / "data")]
        )
        assert (failed.exit_code, "line 5" in failed.stderr) == (1, True), failed.output
        assert "nothing was decided" in failed.stderr
    assert {line["decision"] for line in queue(shop)} == {None}
    path.write_text(good)
    done = run(shop, "review", "tickets", "--apply", path, "--who", "ann", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"version": "tickets-v1", "who": "ann", "accept": 1, "edit": 1, "reject": 1, "skip": 0}
    found = {line["row_id"]: (line["decision"], line["who"], line["note"], line["response"]) for line in queue(shop)}
    assert found[lines[0]["row_id"]] == ("accept", "ann", "fine", lines[0]["response"])
    assert found[lines[1]["row_id"]] == ("edit", "ann", None, "mine")
    assert found[lines[3]["row_id"]][0] is None
