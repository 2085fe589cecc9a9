"""What the kernel knows of a process: its memory and its open files."""

from pathlib import Path

MIB = 1024 * 1024


def resident_bytes(pid: int) -> int:
    """Return what the process holds in memory now."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """Return the most it ever held since its start, or since `forget_peak`."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Let the peak begin again at what is held now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def open_sockets(pid: int) -> int:
    """Count the sockets that the process has open."""
    return sum(link.startswith("socket:") for link in _links(pid))


def open_files(pid: int) -> int:
    """Count everything that the process has open."""
    return len(_links(pid))


def _links(pid: int) -> list[str]:
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return links


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024
