"""The two C programs of the benchmarks, compiled when needed: the scripted upstream and the load generator."""

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_MARK = b"@0000000000000000"
_TEXT = b"Where is the transfer that I made this morning, and what does it cost me? " * 12


def compile_all(folder: Path) -> None:
    """Compile both programs into the folder.

    Raises:
        SystemExit: There is no C compiler, or it refuses; the message says what to install.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit(
            "no C compiler: the upstream and the load generator are C. Debian: apt-get install gcc libc6-dev"
        )
    for name in ("mock_upstream", "load"):
        done = subprocess.run(
            [compiler, "-O2", "-o", folder / name, HERE / f"{name}.c"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{compiler} {name}.c failed (Debian: apt-get install gcc libc6-dev):\n{done.stderr}")


@dataclass(frozen=True)
class Mock:
    """The scripted upstream, running."""

    port: int
    pid: int

    def script(self, chunks: int, pace_ms: float) -> None:
        """Say what streams look like that begin from now on."""
        self._ask(f"?chunks={chunks}&pace_us={pace_ms * 1000:.0f}", b"")

    def counts(self) -> dict[str, int]:
        """Return the calls, chunks and connections so far, and the streams that are open."""
        return self._ask("", None)

    def reference(self) -> bytes:
        """Return the body of a plain answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/chat/completions", b"{}") as answer:
            return bytes(answer.read())

    def _ask(self, query: str, data: bytes | None) -> dict[str, int]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/mock{query}", data) as answer:
            return dict(json.load(answer))


@contextmanager
def running_mock(folder: Path) -> Iterator[Mock]:
    """Run the upstream until the block ends."""
    with subprocess.Popen([folder / "mock_upstream"], stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or not (line := process.stdout.readline()):
                raise SystemExit("the mock upstream did not start; its own message stands above")
            yield Mock(int(line.split()[1]), process.pid)
        finally:
            process.terminate()


@dataclass(frozen=True)
class Load:
    """What a run of the load generator saw. Times in microseconds.

    Attributes:
        calls: All that were answered, also after the time was over.
        calls_in_time: Those answered within the time.
        latency: Percentiles of whole answers: `p50`, `p99`, `max`.
        first: The same for the first chunk of a stream, from the moment the call was sent.
        delay: The same for each chunk, from the moment it left the upstream.
        latencies: Every latency, with a fixed rate only.
    """

    calls: int
    calls_in_time: int
    chunks: int
    errors: int
    first_error: str
    latency: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    delay: dict[str, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Caller:
    """How a target is called: where, with which request, and what a right answer is."""

    folder: Path
    port: int
    name: str
    model: str = "m"
    header: bytes = b""
    reference: bytes | None = None
    """A plain answer's bytes; None when the target writes the JSON anew, so that only its text can be compared."""

    def command(self, mode: str, *, is_stream: bool = False, **options: float) -> list[str | Path]:
        """Return the command line of one run; writes the files it needs."""
        kind = "stream" if is_stream else "plain"
        request = self.folder / f"{self.name}-{kind}.request"
        request.write_bytes(self.request(is_stream=is_stream))
        command = [self.folder / "load", mode, "--port", str(self.port), "--request", request]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", f"{value:.10g}"]
        if is_stream:
            return command
        if self.reference is None:
            return [*command, "--mark", "THE END"]
        reference = self.folder / "reference"
        reference.write_bytes(self.reference)
        return [*command, "--reference", reference]

    def run(self, mode: str, *, is_stream: bool = False, **options: float) -> Load:
        """Put a load on the target and wait for its end."""
        done = subprocess.run(
            self.command(mode, is_stream=is_stream, **options), stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            return Load(0, 0, 0, 1, f"the load generator ended with code {done.returncode}; its message stands above")
        return read_load(done.stdout)

    def request(self, *, is_stream: bool) -> bytes:
        """Return one call as bytes; the mark in it becomes new for each call, so that no two are alike."""
        body = b'{"model":"%s","messages":[{"role":"user","content":"%s %s"}],"temperature":0.2%s}' % (
            self.model.encode(), _MARK, _TEXT, b',"stream":true' if is_stream else b"",
        )  # fmt: skip
        return (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: load\r\naccept: */*\r\n"
            b"authorization: Bearer sk-benchmark\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s"
        ) % (self.header, len(body), body)


def read_load(text: str) -> Load:
    """Read what the load generator printed."""
    found: dict[str, Any] = json.loads(text)
    return Load(
        calls=found["calls"],
        calls_in_time=found["calls_in_time"],
        chunks=found["chunks"],
        errors=found["errors"],
        first_error=found["first_error"],
        latency=found.get("latency_us", {}),
        first=found.get("first_us", {}),
        delay=found.get("delay_us", {}),
        latencies=found.get("latency_values_us", []),
    )
