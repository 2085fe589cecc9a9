"""What the operations of the admin side stand on: one object for each admin application."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.admin.change_requests import ChangeRequests
from proxy.admin.job_filing import JobFiling
from proxy.admin.store import AdminStore
from proxy.admin.worker import Worker

if TYPE_CHECKING:
    from proxy.admin.operation import Operation


@dataclass(frozen=True, slots=True)
class Context:
    """What outlives a request.

    Attributes:
        data_dir: The data directory; it need not hold a database yet.
        store: The way to the traces.
        metrics_folder: Where the serving processes tell their counts; None to leave them out.
        changes: The way to have anything changed.
        jobs: The way to file jobs.
        worker: The way to what only the processing can do.
        operations: Everything the application can be asked, for the document that describes it.
    """

    data_dir: Path
    store: AdminStore
    metrics_folder: Path | None
    changes: ChangeRequests
    jobs: JobFiling
    worker: Worker
    operations: tuple["Operation", ...]

    async def close(self) -> None:
        """Let go of what is held."""
        await self.changes.close()
        await self.store.close()
