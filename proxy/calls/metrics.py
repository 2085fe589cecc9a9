"""The counts of a data worker, told from its first call on."""

import atexit

from proxy.metrics import worker_metrics
from proxy.metrics.catalog import DROP_REASONS
from proxy.metrics.folder import metrics_folder
from proxy.metrics.teller import Teller

__all__ = ["DROP_REASONS", "WorkerMetrics"]


class WorkerMetrics(worker_metrics.WorkerMetrics):
    """Counts that a thread tells until the process ends."""

    def __init__(self) -> None:
        """Begin at nothing."""
        super().__init__()
        atexit.register(Teller(metrics_folder(), "worker", self.counts).close)
