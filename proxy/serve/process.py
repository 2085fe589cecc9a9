"""The inside of each process that the supervisor starts: `python -m proxy.serve.process worker|ingest|admin|otlp`.

A process reads one line of JSON from its standard input, what it is to do, and then watches that pipe: when it closes,
the supervisor is gone, and the process ends as if told to stop. So nothing is left running, whatever kills the parent.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

from proxy.serve.assignment import Assignment
from proxy.serve.logs import log_the_unforeseen, on_loop_error, set_up_logging
from proxy.settings import ServeSettings
from proxy.settings_json import from_json

_LIFELINE = 0
"""Standard input: a pipe whose other end only the supervisor holds."""


def main(role: str) -> None:
    """Run one process to its end."""
    os.umask(0o077)
    # The supervisor decides when we stop and what SIGHUP means; a signal to all of us reaches it, and through it us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assignment = Assignment.from_line(_read_line())
    settings = from_json(ServeSettings, assignment.settings)
    set_up_logging(settings.log_level, settings.log_format)
    log_the_unforeseen()
    threading.Thread(target=_end_with_supervisor, name="lifeline", daemon=True).start()
    with asyncio.Runner(loop_factory=_loop_of(role)) as runner:
        runner.get_loop().set_exception_handler(on_loop_error)
        runner.run(_run(role, settings, assignment))


def _loop_of(role: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Give what makes the event loop; None for the standard library's."""
    if role != "worker":
        return None
    # Imported here: it is fast where bytes move, and takes 2 MB where few do.
    import uvloop

    return uvloop.new_event_loop


async def _run(role: str, settings: ServeSettings, assignment: Assignment) -> None:
    if role == "ingest":
        # Imported here: a data worker never loads the parsers, and ingest never loads the server.
        from proxy.serve.ingest_process import run_ingest_process

        await run_ingest_process(settings, bytes.fromhex(assignment.salt))
        return
    if role == "otlp":
        from proxy.serve.otlp_process import run_otlp

        await run_otlp(settings)
        return
    # Made of a descriptor, it tells that it is TCP, and only of what does, asyncio holds back no small block for 40 ms.
    listener = socket.socket(fileno=assignment.listener)
    if role == "worker":
        from proxy.serve.worker import run_worker

        await run_worker(settings, listener, bytes.fromhex(assignment.salt), assignment.ready)
    else:
        from proxy.serve.admin_process import run_admin

        await run_admin(settings, listener, tuple(assignment.job_command))


def _read_line() -> bytes:
    # From the descriptor itself: a thread that waits inside a buffered reader stops the interpreter from ending.
    line = b""
    while not line.endswith(b"\n"):
        block = os.read(_LIFELINE, 65536)
        if not block:
            raise SystemExit("the supervisor went away before it said what to do")
        line += block
    return line


def _end_with_supervisor() -> None:
    while os.read(_LIFELINE, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1])
