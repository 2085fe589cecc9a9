"""What a folder looks like, to the byte and the nanosecond."""

import hashlib
from pathlib import Path


def folder_state(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Give mode, time of the last change and digest of everything in a folder, the folder itself included."""
    state = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        status = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        state[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return state
