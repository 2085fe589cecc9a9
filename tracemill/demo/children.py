"""The demo's child processes: started, awaited until ready, and ended again in every way out."""

import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_END_S = 25.0
"""How long a child may take to stop: the proxy lets running calls finish for up to 20 s."""


class ChildError(Exception):
    """A child process ended or stayed silent when it should have been ready, or failed at its task.

    Attributes:
        name: What the child was for.
        log: Where its messages are.
    """

    def __init__(self, name: str, what: str, log: Path) -> None:
        self.name = name
        self.log = log
        said = log.read_text(errors="replace").strip().splitlines()[-5:] if log.exists() else []
        super().__init__(
            "\n".join([f"{name} {what}. Its messages are in {log}" + (", the last ones:" if said else "."), *said])
        )


@contextmanager
def serving(
    name: str,
    command: Sequence[str],
    *,
    ready: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    deadline_s: float = 20.0,
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a server as long as the block lasts.

    Args:
        name: What it is, for messages.
        command: What to run.
        ready: What the line on its stdout begins with that says it is ready.
        log: File for what it writes to stderr.
        environment: All of its environment; None hands on ours.
        folder: Where it runs; None is where we run.
        deadline_s: How long it may take to be ready.

    Yields:
        The process and the rest of its ready line.

    Raises:
        ChildError: It ended, or was not ready in time.
    """
    with log.open("ab") as messages:
        # A session of its own: Ctrl-C then reaches the demo alone, which ends its children in order.
        child = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=messages, env=environment, cwd=folder, start_new_session=True
        )
    try:
        yield child, _ready_line(name, child, ready, log, deadline_s)
    finally:
        end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    """Stop a child and wait for it; one that does not stop in time is killed. Does nothing to one that ended."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def run_task(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    is_shown: bool = False,
) -> None:
    """Run a command to its end.

    Args:
        name: What it is, for messages.
        command: What to run.
        log: File for what it writes.
        environment: See `serving`.
        is_shown: Its stderr goes where ours goes, and not to the file: there it shows how far it is.

    Raises:
        ChildError: It failed.
    """
    with log.open("ab") as messages:
        child = subprocess.Popen(  # noqa: S603
            command,
            stdout=messages,
            stderr=None if is_shown else messages,
            env=environment,
            start_new_session=True,
        )
    try:
        status = child.wait()
    finally:
        end(child)
    if status != 0:
        raise ChildError(name, f"ended with status {status}", log)


def _ready_line(name: str, child: subprocess.Popen[bytes], ready: str, log: Path, deadline_s: float) -> str:
    assert child.stdout is not None  # noqa: S101 - it was asked for as a pipe
    give_up = time.monotonic() + deadline_s
    while (left := give_up - time.monotonic()) > 0:
        if not select.select([child.stdout], [], [], left)[0]:
            break
        line = child.stdout.readline().decode(errors="replace")
        if line.startswith(ready):
            return line.removeprefix(ready).strip()
        if not line:
            raise ChildError(name, f"ended with status {child.wait()} before it was ready", log)
    raise ChildError(name, f"was not ready within {deadline_s:.0f} s", log)
