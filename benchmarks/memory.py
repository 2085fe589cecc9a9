"""What each process of a server holds: at rest, after calls, and with many slow streams open.

    .venv/bin/python -m benchmarks.memory [--calls 6400] [--streams 1000] [--flags='--workers 2']

Resident memory, pages that processes share counted in each; in brackets proportional, each page counted once. The
calls are of 2 KB with capture on; a pause of 5 s lies between them and the streams, in which ingest gives back what
they took.
"""

import argparse
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.native import Caller, Mock, compile_all, running_mock
from benchmarks.processes import Memory, memory, tree
from benchmarks.soak import wait_stored
from benchmarks.targets import tracemill

_CONNECTIONS = 32
_PAUSE_S = 5
_PACE_MS = 500
_CHUNKS = 20
_LOOK_S = 0.2

Held = dict[str, Memory]
"""What each process holds, by its role."""


def look(server: int) -> Held:
    """Look at every process of the server; several of one role are added up."""
    held: Held = {}
    for pid, role in tree(server).items():
        so_far, now = held.get(role, Memory(0, 0)), memory([pid])
        held[role] = Memory(so_far.resident + now.resident, so_far.proportional + now.proportional)
    return held


def with_streams(server: int, caller: Caller, mock: Mock, streams: int) -> Held:
    """Hold that many streams open and look when the most of them are; returns when all have ended."""
    mock.script(_CHUNKS, _PACE_MS)
    command = caller.command(
        "streams", is_stream=True, connections=streams, chunks=_CHUNKS, seconds=0.1, stagger_us=_PACE_MS * 1000
    )
    most, held = 0, look(server)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as holding:
        while holding.poll() is None:
            if (count := mock.counts()["streams_open"]) >= most:
                most, held = count, look(server)
            time.sleep(_LOOK_S)
    if most < streams:
        raise SystemExit(f"only {most} of {streams} streams were open at once")
    return held


def row(title: str, held: Held) -> str:
    """Write one moment as a row of the table."""
    whole = Memory(sum(each.resident for each in held.values()), sum(each.proportional for each in held.values()))
    cells = [f"{each.resident / 1e6:.1f} ({each.proportional / 1e6:.1f})" for each in [*held.values(), whole]]
    return f"| {title} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=6400)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--flags", default="", help="further flags of tracemill serve")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tracemill-memory-")))
        compile_all(folder)
        mock = stack.enter_context(running_mock(folder))
        url, data_dir = f"http://127.0.0.1:{mock.port}/v1", folder / "data"
        server = stack.enter_context(tracemill(url, data_dir, *options.flags.split()))
        caller = Caller(folder, server.port, "server")
        time.sleep(_PAUSE_S)
        at_rest = look(server.pid)
        print(f"| MB | {' | '.join([*at_rest, 'all'])} |\n|{'---|' * (len(at_rest) + 2)}")
        print(row("at rest", at_rest), flush=True)
        load = caller.run("closed", connections=_CONNECTIONS, calls=options.calls, seconds=600)
        if load.errors:
            raise SystemExit(f"a call was answered wrongly: {load.first_error}")
        wait_stored(mock, data_dir / "traces.db")
        time.sleep(_PAUSE_S)
        print(row(f"after {options.calls} calls", look(server.pid)), flush=True)
        print(row(f"and {options.streams} streams open", with_streams(server.pid, caller, mock, options.streams)))


if __name__ == "__main__":
    main()
