"""What a fault drill is: a promise, a fault, figures, and an exit code that says whether the promise held.

Each drill is a program, `python -m tests.faults.NAME [--rounds N]`, and has a short form that the suite runs
(`tests/faults/test_drills.py`). A drill never stops at the first breach: it goes on to its end and tells all of them.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

Figure = int | float | str


@dataclass
class Report:
    """What a drill came to.

    Attributes:
        figures: What was measured, in the order it is to be read.
        breaches: One sentence for each promise that broke; empty when all held.
    """

    figures: dict[str, Figure] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)

    def tell(self, **figures: Figure) -> None:
        self.figures.update(figures)

    def add(self, **counts: int) -> None:
        """Add to figures that several rounds share."""
        for name, count in counts.items():
            self.figures[name] = int(self.figures.get(name, 0)) + count

    def promise(self, holds: object, breach: str) -> None:
        if not holds:
            self.breaches.append(breach)

    def table(self) -> str:
        width = max(map(len, self.figures), default=0)
        lines = [f"  {name.replace('_', ' '):{width}}  {_shown(value)}" for name, value in self.figures.items()]
        lines += [f"BROKEN: {breach}" for breach in self.breaches] or ["all promises held"]
        return "\n".join(lines)


class NotPossibleHereError(Exception):
    """This machine cannot make the fault; the message says what it lacks."""


Drill = Callable[[Path, int], Awaitable[Report]]
"""Runs in an empty folder, that many rounds."""


def run_drill(drill: Drill, folder: Path, rounds: int) -> Report:
    return asyncio.run(_timed(drill, folder, rounds))


def main(module: ModuleType | Any) -> None:
    """Run a drill as a program: its module has `drill`, `ROUNDS` and a docstring that begins with the promise."""
    parser = argparse.ArgumentParser(prog=f"python -m {module.__spec__.name}", description=module.__doc__)
    parser.add_argument("--rounds", type=int, default=module.ROUNDS, help="how often or how long, as the drill says")
    arguments = parser.parse_args()
    print((module.__doc__ or "").splitlines()[0])
    with tempfile.TemporaryDirectory(prefix="tracemill-drill-") as folder:
        try:
            report = run_drill(module.drill, Path(folder), arguments.rounds)
        except NotPossibleHereError as error:
            print(f"not possible on this machine: {error}")
            sys.exit(3)
    print(report.table())
    sys.exit(1 if report.breaches else 0)


async def _timed(drill: Drill, folder: Path, rounds: int) -> Report:
    began = time.monotonic()
    report = await drill(folder, rounds)
    report.tell(seconds=round(time.monotonic() - began, 1))
    return report


def _shown(value: Figure) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
