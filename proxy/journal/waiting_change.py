"""Whether a change stands in some journal, for who asks after one that ingest has not come to."""

import mmap
from pathlib import Path
from uuid import UUID

from proxy.journal.format import EntryKind


def is_in_journal(root: Path, id_: UUID) -> bool:
    """Tell whether a journal, of whichever process, holds a change; ingest may have done with it already.

    Segments are searched for the beginning of its entry; 1 GB takes some tenths of a second.

    Args:
        root: The data directory's `journal` folder; it need not be there.
        id_: The change's.
    """
    beginning = bytes([EntryKind.CHANGE]) + id_.bytes
    return any(_holds(path, beginning) for path in root.glob("*/*.seg"))


def _holds(path: Path, wanted: bytes) -> bool:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return view.find(wanted) >= 0
    except (FileNotFoundError, ValueError):
        return False  # read and deleted meanwhile, or nothing is in it yet
