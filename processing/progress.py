"""How a run tells how far it is; whoever shows it decides what it looks like."""

from collections.abc import Callable
from dataclasses import dataclass, replace
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
        cost: Of the calls that the run has bought, as far as prices are known.
    """

    stage: str
    done: int
    total: int
    in_flight: int = 0
    paid: int = 0
    cached: int = 0
    failed: int = 0
    cost: float = 0.0


class Progress(Protocol):
    """Is told at every step; must return at once."""

    def __call__(self, progress: StageProgress, /) -> None:
        """Take note of how far a stage is."""


def silent(progress: StageProgress, /) -> None:
    """Show nothing."""


class Counts(Protocol):
    """How the questions of a run went so far."""

    in_flight: int
    paid: int
    cached: int
    failed: int


class LiveProgress:
    """Adds to what a stage tells what the run has cost, and tells again whenever a call begins or ends.

    Args:
        progress: Is told.
        cost: Gives what the run has spent.
    """

    def __init__(self, progress: Progress, cost: Callable[[], float]) -> None:
        self._progress = progress
        self._cost = cost
        self._last: StageProgress | None = None
        self.counts: Counts | None = None

    def __call__(self, progress: StageProgress, /) -> None:
        """Take note of how far a stage is, and pass it on."""
        self._last = replace(progress, cost=self._cost())
        self._progress(self._last)

    def refresh(self) -> None:
        """Tell the stage's calls anew; before the first stage and after the end of one nothing is told."""
        last, counts = self._last, self.counts
        if last is None or counts is None or last.done >= last.total:
            return
        self._last = replace(
            last,
            in_flight=counts.in_flight,
            paid=counts.paid,
            cached=counts.cached,
            failed=counts.failed,
            cost=self._cost(),
        )
        self._progress(self._last)
