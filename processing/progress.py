"""How a run tells how far it is; whoever shows it decides what it looks like."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StageProgress:
    """How far one stage is.

    Attributes:
        stage: Name of the stage.
        done: Things finished.
        total: Things in all.
        in_flight: Teacher calls waiting for their answer.
        paid: Calls of the run answered by a model.
        cached: Calls of the run answered by the call table.
        failed: Calls of the run that gave no answer.
    """

    stage: str
    done: int
    total: int
    in_flight: int = 0
    paid: int = 0
    cached: int = 0
    failed: int = 0


class Progress(Protocol):
    """Is told at every step; must return at once."""

    def __call__(self, progress: StageProgress, /) -> None:
        """Take note of how far a stage is."""


def silent(progress: StageProgress, /) -> None:
    """Show nothing."""
