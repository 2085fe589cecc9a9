"""A disk whose system calls do not return, for the journal of processes that are started meanwhile."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest


class StuckDisk:
    """The disk of every process that is started after it was made; it works until it is held."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None or sys.platform != "linux":
            pytest.skip("there is no C compiler, or this is not Linux")
        library = folder / "stuck_disk.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
        self._file = folder / "stuck"
        self._file.write_bytes(b"-")
        monkeypatch.setenv("LD_PRELOAD", str(library))
        monkeypatch.setenv("STUCK_DISK_FILE", str(self._file))

    @contextmanager
    def held(self, calls: Literal["write", "flush"]) -> Iterator[None]:
        """Let none of these return while the block runs."""
        self._tell(b"w" if calls == "write" else b"s")
        try:
            yield
        finally:
            self._tell(b"-")

    def _tell(self, state: bytes) -> None:
        # In place: the processes have the file mapped.
        with self._file.open("r+b") as file:
            file.write(state)
