"""What takes several calls: filing a job and waiting for what comes of it, writing an export to the disk.

A procedure is a generator that gives each step to whoever carries it out and gets the step's result back, so that it is
written once for the client that blocks and the one that does not.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tracemill.client.call import Blocks, Call

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Save:
    """Write an answer to a file as it comes."""

    blocks: Blocks
    path: Path


@dataclass(frozen=True, slots=True)
class Work:
    """Do something on this machine that takes its time."""

    do: Callable[[], Any]


Step = Call[Any] | Pause | Save | Work
Procedure = Generator[Step, Any, T]
