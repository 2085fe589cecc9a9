"""Disks without room, for running processes: a small one when this machine lets us, else a limit of the kernel's."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.drill import NotPossibleHereError
from tests.server import Server


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    """Mount a disk of that size.

    Raises:
        NotPossibleHereError: Only root may, and not in every container.
    """
    path.mkdir(mode=0o700)
    options = ["-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(path)]
    try:
        _as_root("mount", *options)
    except NotPossibleHereError:
        path.rmdir()
        raise
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """Fill the disk that this folder is on; the small one, that is."""
    filler = path / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def no_file_may_grow(server: Server) -> Iterator[None]:
    """Let every write of the server's processes fail, as on a full disk; no privilege is needed for that."""
    pids = [pid for role in ("worker", "ingest", "admin") for pid in server.children(role)]
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_soft, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        for pid, limit in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Let nothing new be made in a folder; files that are open stay what they are."""
    if os.geteuid():
        path.chmod(0o500)
        try:
            yield
        finally:
            path.chmod(0o700)
        return
    _as_root("mount", "--bind", str(path), str(path))
    try:
        _as_root("mount", "-o", "remount,ro,bind", str(path))
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _as_root(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPossibleHereError(f"{' '.join(command[:2])}: {done.stderr.strip()}")
