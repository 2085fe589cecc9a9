"""The product as a user runs it: `tracemill serve` in processes of its own, over a data directory of the test's."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.command_line import run_here

READY_S = 30


def tracemill(*arguments: str | Path, timeout_s: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [sys.executable, "-m", "tracemill.cli", *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, **options)


class Server:
    """A running `tracemill serve`."""

    def __init__(self, upstream: str, data_dir: Path, *flags: str, port: int = 0) -> None:
        self._command = [
            sys.executable, "-m", "tracemill.cli", "serve", "--upstream", upstream, "--data-dir", str(data_dir),
            "--port", str(port), "--admin-port", "0", *flags,
        ]  # fmt: skip
        self.data_dir = data_dir
        self._is_told = False
        self._log_path = data_dir.with_name(data_dir.name + ".log")

    def __enter__(self) -> Self:
        self._log = self._log_path.open("ab")
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=self._log)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline().decode()
        if not ready.startswith("tracemill ready: "):
            self.stop()
            raise AssertionError(f"no ready line: {ready!r}\n{self.log()}")
        words = ready.split()
        self.base_url, self.admin_url = words[3], words[5]
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def tell_to_stop(self) -> None:
        """Send SIGTERM, once: a second one would mean "at once"."""
        if self.process.poll() is None and not self._is_told:
            self._is_told = True
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Stop as an init system does; return the exit code."""
        self.tell_to_stop()
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()
        return code

    def kill_supervisor(self) -> None:
        self.process.kill()
        self.process.wait(10)

    @property
    def port(self) -> int:
        return int(self.base_url.rsplit(":", 1)[1].split("/")[0])

    def log(self) -> str:
        return self._log_path.read_text()

    def children(self, role: str) -> list[int]:
        """Return the process ids of one role's processes."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = (entry / "stat").read_text().rsplit(") ", 1)[1].split()[1]
            except (OSError, IndexError):
                continue
            if words[2:4] == [b"proxy.serve.process", role.encode()] and int(parent) == self.process.pid:
                found.append(int(entry.name))
        return found

    def kill(self, role: str) -> int:
        """End one process of that role as `kill -9` does; return its id."""
        pid = self.children(role)[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def admin(self, path: str) -> Any:
        with urllib.request.urlopen(self.admin_url + path, timeout=10) as answer:
            return json.load(answer)

    def wait_traces(self, count: int, timeout_s: float = 20) -> list[dict[str, Any]]:
        """Wait until that many traces are stored; return what the admin side lists, newest first."""
        return self.wait_for(lambda: self.admin("/admin/api/traces?limit=500")["data"], count, timeout_s)

    def wait_for(self, look: Any, count: int, timeout_s: float) -> Any:
        deadline = time.monotonic() + timeout_s
        while True:
            found = look()
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{len(found)} of {count} within {timeout_s} s\n{self.log()}"
            time.sleep(0.02)

    def export(self, *flags: str) -> list[dict[str, Any]]:
        """Export as a user does and read the lines back."""
        return export(self.data_dir, *flags)


def export(data_dir: Path, *flags: str) -> list[dict[str, Any]]:
    """Export a data directory, whether or not a server runs on it."""
    out = data_dir.with_name(data_dir.name + ".traces.jsonl")
    arguments = ("export", "--data-dir", data_dir, "--format", "traces", "-o", out, *flags)
    # A command minds signals, which it can in the main thread alone.
    is_main = threading.current_thread() is threading.main_thread()
    done = run_here(arguments) if is_main else tracemill(*arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in out.read_bytes().split(b"\n") if line]
