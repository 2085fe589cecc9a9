"""What the supervisor counts: the processes that it had to start again."""

from proxy.metrics import catalog
from proxy.metrics.counts import Counts


class SupervisorMetrics:
    """The counts of the supervisor."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._restarts: dict[str, int] = {}

    def watched(self, process: str) -> None:
        """Count the restarts of this process from 0."""
        self._restarts.setdefault(_label(process), 0)

    def restarted(self, process: str) -> None:
        """Count that a process ended unasked and is started again."""
        label = _label(process)
        self._restarts[label] = self._restarts.get(label, 0) + 1

    def counts(self) -> Counts:
        """Tell what was counted; from any thread."""
        return Counts(
            counters={catalog.RESTARTS.name: {(process,): number for process, number in self._restarts.copy().items()}}
        )


def _label(process: str) -> str:
    return process.replace(" ", "-")
