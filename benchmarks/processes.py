"""What the kernel knows of a process and its descendants: CPU time and memory."""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_PROCESS_CPU_CLOCK = 2
"""The low bits of a clock id that mean "CPU time of the whole process" (`CPUCLOCK_SCHED` of the Linux kernel)."""
KIB = 1024


class Memory(NamedTuple):
    """Bytes held by some processes: resident, pages shared between them counted in each; and each page counted once."""

    resident: int
    proportional: int


def tree(root: int) -> dict[int, str]:
    """Return the process and all its descendants, each with a name for what it does."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = {}, [root]
    while todo:
        pid = todo.pop()
        found[pid] = _role(pid, is_root=pid == root)
        todo += children.get(pid, [])
    return found


def cpu_ns(pids: Iterable[int]) -> dict[int, int]:
    """Return the CPU time of each process that still runs, all threads, also those that ended, in nanoseconds.

    `/proc/PID/stat` counts in steps of 10 ms, which can be more than a whole phase costs; the process's CPU clock is
    exact.
    """
    times = {}
    for pid in pids:
        with suppress(OSError):
            times[pid] = time.clock_gettime_ns((~pid << 3) | _PROCESS_CPU_CLOCK)
    return times


def memory(pids: Iterable[int]) -> Memory:
    """Add up what the processes hold now."""
    resident = proportional = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    resident += int(line.split()[1]) * KIB
                elif line.startswith("Pss:"):
                    proportional += int(line.split()[1]) * KIB
    return Memory(resident, proportional)


def open_files(pid: int) -> int:
    """Count everything that the process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def sockets(pid: int) -> int:
    """Count the sockets that the process has open."""
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found


def _role(pid: int, *, is_root: bool) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "gone"
    if "proxy.serve.process" in words:
        return words[words.index("proxy.serve.process") + 1]
    if "tracemill.serving_process" in words:
        return "supervisor"
    if words[0].startswith("nginx: "):
        return words[0].split()[1]
    return "main" if is_root else "child"
