"""What is measured beside the direct call: each a proxy on a port of its own, in front of the same upstream."""

import http.client
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.native import Caller
from benchmarks.processes import cpu_ns, tree

HERE = Path(__file__).parent
_READY_S = 120
_SETTLE_S = 120
_STILL_SHARE = 0.02
"""Of one core: a target that uses less than this has done what the calls left it to do."""
_STILL_PATIENCE_S = 3

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; {user}
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 1000000000; keepalive_timeout 600;
  upstream model {{
    server 127.0.0.1:{upstream}; keepalive 2048; keepalive_requests 1000000000; keepalive_timeout 600;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""
LITELLM = """
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{upstream}/v1", api_key: sk-benchmark}}
litellm_settings: {{telemetry: false, drop_params: true}}
"""


class NotInstalledError(Exception):
    """The target is not on this machine; the message says how to get it."""


@dataclass
class Target:
    """A running target.

    Attributes:
        pid: Its first process; all descendants are on its bill.
        database: Where it stores the calls, if it does.
        failure: Why its figures are worth nothing, "" as long as they are.
    """

    name: str
    title: str
    capture: str
    caller: Caller
    pid: int
    database: Path | None = None
    failure: str = ""
    version: str = ""
    calls: int = field(default=0)

    def settle(self) -> None:
        """Wait until the target has done everything that the calls so far left it to do.

        The stored calls are counted in the database file itself, so that the question is not on the target's bill.
        """
        deadline = time.monotonic() + _SETTLE_S
        while self.database is not None and (stored := count_traces(self.database)) < self.calls:
            if time.monotonic() > deadline:
                self.failure = f"{self.calls - stored} of {self.calls} calls were not stored within {_SETTLE_S} s"
                return
            time.sleep(0.1)
        deadline = time.monotonic() + _STILL_PATIENCE_S
        before = sum(cpu_ns(tree(self.pid)).values())
        while time.monotonic() < deadline:
            time.sleep(0.2)
            now = sum(cpu_ns(tree(self.pid)).values())
            if now - before < 0.2e9 * _STILL_SHARE:
                return
            before = now


class Server(NamedTuple):
    """A running `tracemill serve`: its first process, the port of the proxy, the base URL of the admin side."""

    pid: int
    port: int
    admin_url: str


@dataclass(frozen=True)
class Surroundings:
    """What the targets are started with."""

    folder: Path
    upstream: int
    upstream_pid: int
    reference: bytes
    litellm: str | None
    opentracy: str | None

    def caller(self, name: str, port: int, *, model: str = "m", header: bytes = b"", is_exact: bool = True) -> Caller:
        """Return how to call a target; one that is not exact writes the JSON anew."""
        return Caller(self.folder, port, name, model, header, self.reference if is_exact else None)


def count_traces(database: Path) -> int:
    """Count the stored calls, 0 when the database is not there yet."""
    with suppress(sqlite3.OperationalError):
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
        try:
            return int(connection.execute("SELECT count(*) FROM traces").fetchone()[0])
        finally:
            connection.close()
    return 0


@contextmanager
def direct(around: Surroundings) -> Iterator[Target]:
    """The upstream without anything before it; its CPU is the mock's own."""
    yield Target(
        "direct", "direct (the upstream itself)", "-", around.caller("direct", around.upstream), around.upstream_pid
    )


@contextmanager
def nginx(around: Surroundings) -> Iterator[Target]:
    """Run nginx as a plain reverse proxy: one worker, kept connections, no buffering of answers, no access log."""
    if (program := shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")) is None:
        raise NotInstalledError(
            "Debian: apt-get install --no-install-recommends nginx-light (its service is not needed)"
        )
    port, folder = free_port(), around.folder / "nginx"
    folder.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, upstream=around.upstream, user=user))
    version = (
        subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stderr.split("/")[-1].split()[0]
    )
    command = [program, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "nginx.log"]
    with running(command, port) as pid:
        yield Target("nginx", "nginx proxy_pass", "-", around.caller("nginx", port), pid, version=version)


@contextmanager
def ours_on(around: Surroundings) -> Iterator[Target]:
    """Tracemill as it comes."""
    with _ours(around, "ours-on", b"") as target:
        target.database = around.folder / "ours-on" / "traces.db"
        yield target


@contextmanager
def ours_off(around: Surroundings) -> Iterator[Target]:
    """Tracemill, told by each call not to record it."""
    with _ours(around, "ours-off", b"x-tracemill-capture: off\r\n") as target:
        yield target


@contextmanager
def _ours(around: Surroundings, name: str, header: bytes) -> Iterator[Target]:
    upstream = f"http://127.0.0.1:{around.upstream}/v1"
    with tracemill(upstream, around.folder / name) as server:
        caller = around.caller(name, server.port, header=header)
        yield Target(name, "tracemill", name.removeprefix("ours-"), caller, server.pid)


@contextmanager
def plain(around: Surroundings) -> Iterator[Target]:
    """The proxy of an afternoon, from the libraries most would take."""
    port = free_port()
    command = [sys.executable, HERE / "plain_proxy.py", str(port), f"http://127.0.0.1:{around.upstream}"]
    with running(command, port) as pid:
        yield Target("plain", "starlette + httpx", "-", around.caller("plain", port), pid)


@contextmanager
def litellm(around: Surroundings) -> Iterator[Target]:
    """LiteLLM's proxy: one worker, no database, no logger, no key check."""
    program = Path(around.litellm).parent / "litellm" if around.litellm else None
    if program is None or not program.exists():
        raise NotInstalledError("python3 -m venv V && V/bin/pip install 'litellm[proxy]', then --litellm V/bin/python")
    port, config = free_port(), around.folder / "litellm.yaml"
    config.write_text(LITELLM.format(upstream=around.upstream))
    environment = {
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
    }
    command = [program, "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    with running([*command, "--telemetry", "False"], port, environment) as pid:
        caller = around.caller("litellm", port, is_exact=False)
        yield Target("litellm", "LiteLLM proxy", "off", caller, pid, version=_version(around.litellm, "litellm"))


@contextmanager
def opentracy(around: Surroundings) -> Iterator[Target]:
    """OpenTracy's Go engine as a gateway, without the database that its capture needs."""
    prefix = Path(around.opentracy).parent.parent if around.opentracy else Path("/nonexistent")
    found = sorted(prefix.glob("lib/python*/site-packages/opentracy/_bin/opentracy-engine-*"))
    if not found:
        raise NotInstalledError("python3 -m venv V && V/bin/pip install opentracy, then --opentracy V/bin/python")
    port = free_port()
    environment = {
        "AZURE_OPENAI_ENDPOINT": f"http://127.0.0.1:{around.upstream}",
        "AZURE_OPENAI_API_KEY": "sk-benchmark",
    }
    with running([found[0], "-gateway", "-host", "127.0.0.1", "-port", str(port)], port, environment) as pid:
        caller = around.caller("opentracy", port, model="azure/m", is_exact=False)
        version = _version(around.opentracy, "opentracy")
        yield Target("opentracy", "OpenTracy engine (Go)", "off", caller, pid, version=version)


TARGETS: dict[str, Callable[[Surroundings], AbstractContextManager[Target]]] = {
    "direct": direct, "nginx": nginx, "ours-on": ours_on, "ours-off": ours_off,
    "opentracy": opentracy, "litellm": litellm, "plain": plain,
}  # fmt: skip


@contextmanager
def tracemill(upstream: str, data_dir: Path, *flags: str) -> Iterator[Server]:
    """Run `tracemill serve` until the block ends."""
    command = [
        sys.executable, "-m", "tracemill.cli", "serve", "--upstream", upstream, "--data-dir", data_dir,
        "--port", "0", "--admin-port", "0", "--log-level", "warning", *flags,
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as process:
        try:
            ready = process.stdout.readline().split() if process.stdout else []
            if ready[:2] != ["tracemill", "ready:"]:
                raise SystemExit("tracemill did not start; its own message stands above")
            yield Server(process.pid, int(ready[3].rsplit(":", 1)[1].split("/")[0]), ready[5])
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def running(command: list[str | Path], port: int, environment: dict[str, str] | None = None) -> Iterator[int]:
    """Run a server until the block ends; its output goes to nobody unless it fails to start."""
    log = Path(f"/tmp/benchmark-{os.getpid()}-{port}.log")  # noqa: S108 - removed below
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **(environment or {})})
    try:
        deadline = time.monotonic() + _READY_S
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not come up:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.unlink()


def answers(port: int) -> bool:
    """Tell whether something speaks HTTP on that port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v1/models")
        return connection.getresponse().status > 0
    except OSError:
        return False
    finally:
        connection.close()


def free_port() -> int:
    """Return a port that nobody uses at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _version(python: str | None, package: str) -> str:
    code = f"from importlib.metadata import version; print(version('{package}'))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip()
