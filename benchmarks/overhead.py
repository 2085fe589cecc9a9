"""What the proxy adds to a call: ours with capture on, beside the direct call and a plain proxy that records nothing.

    .venv/bin/python benchmarks/overhead.py [--seconds 4] [--rounds 3]

All in one run on one machine, in interleaved rounds, so that the ratios hold when the machine's speed drifts. The plain
proxy is what one writes in an afternoon with the same libraries: a starlette StreamingResponse over an httpx client.
CPU is that of all processes of a target, from the kernel; ours includes ingest, so the traces are stored meanwhile.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CONNECTIONS = 16
REPLY = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 800}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
}  # fmt: skip
CHUNKS = 50
TICKS = os.sysconf("SC_CLK_TCK")

UPSTREAM = f"""
import asyncio, json, sys, uvicorn
REPLY = {json.dumps(json.dumps(REPLY))}.encode()
CHOICE = b'{{"index":0,"delta":{{"content":"word "}},"finish_reason":null}}'
CHUNK = b'data: {{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[' + CHOICE + b']}}\\n\\n'
async def app(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    is_stream = b'"stream":true' in body
    kind = b"text/event-stream" if is_stream else b"application/json"
    length = [] if is_stream else [(b"content-length", str(len(REPLY)).encode())]
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind), *length]}})
    if is_stream:
        for _ in range({CHUNKS}):
            await send({{"type": "http.response.body", "body": CHUNK, "more_body": True}})
            await asyncio.sleep(0)
        await send({{"type": "http.response.body", "body": b"data: [DONE]\\n\\n"}})
    else:
        await send({{"type": "http.response.body", "body": REPLY}})
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", lifespan="off")
"""

PLAIN = """
import sys, httpx2 as httpx, uvicorn
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
client = httpx.AsyncClient(base_url=sys.argv[2], timeout=60, limits=limits)
async def relay(request):
    headers = [(k, v) for k, v in request.headers.raw if k not in (b"host",)]
    sent = client.build_request("POST", request.url.path, content=await request.body(), headers=headers)
    answer = await client.send(sent, stream=True)
    headers = {k: v for k, v in answer.headers.items() if k not in ("transfer-encoding",)}
    return StreamingResponse(answer.aiter_raw(), answer.status_code, headers)
app = Starlette(routes=[Route("/{path:path}", relay, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""


@dataclass
class Target:
    """What is measured, and what was."""

    name: str
    port: int
    pid: int | None
    header: bytes = b""
    latencies_s: list[float] = field(default_factory=list)
    calls: int = 0
    cpu_s: float = 0.0
    rates: list[float] = field(default_factory=list)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process and its children that still run."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
        except OSError:
            continue
        if int(entry.name) == pid or int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


async def one_connection(port: int, request: bytes, end: bytes, until: float, latencies: list[float]) -> None:
    """Send the same call over one kept connection until the time is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (started := time.perf_counter()) < until:
        writer.write(request)
        await reader.readuntil(end)
        latencies.append(time.perf_counter() - started)
    writer.close()


async def load(target: Target, end: bytes, seconds: float, connections: int, *, is_stream: bool) -> None:
    """Put a load on a target and add up what it took."""
    request = call(target.header, is_stream=is_stream)
    latencies: list[float] = []
    before = cpu_s(target.pid) if target.pid else 0.0
    started = time.perf_counter()
    until = started + seconds
    await asyncio.gather(*(one_connection(target.port, request, end, until, latencies) for _ in range(connections)))
    target.rates.append(len(latencies) / (time.perf_counter() - started))
    if target.pid:
        await asyncio.sleep(1.0)  # let ingest store what is left, on the same bill
        target.cpu_s += cpu_s(target.pid) - before
    target.calls += len(latencies)
    target.latencies_s += latencies


def call(header: bytes, *, is_stream: bool) -> bytes:
    """Return one call as bytes, with one more header field."""
    body = b'{"model":"m","messages":[{"role":"user","content":"%s"}]%s}' % (
        b"y" * 900,
        b',"stream":true' if is_stream else b"",
    )
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"%scontent-length: %d\r\n\r\n%s" % (header, len(body), body)
    )


@contextmanager
def started(command: list[str], port: int) -> Iterator[int]:
    """Run a server until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/"], check=False).returncode:
            if time.monotonic() > deadline:
                raise SystemExit(f"{command[:3]} did not come up")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def table(title: str, targets: list[Target]) -> str:
    """Return the figures of one load as Markdown."""
    direct = targets[0]
    base_p50 = statistics.median(direct.latencies_s)
    lines = [
        f"### {title}", "",
        "| target | calls/s | p50 ms | p99 ms | p50 : direct | CPU µs a call |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for target in targets:
        p50 = statistics.median(target.latencies_s)
        p99 = statistics.quantiles(target.latencies_s, n=100)[98]
        cpu = f"{target.cpu_s / target.calls * 1e6:.0f}" if target.pid else "-"
        lines.append(
            f"| {target.name} | {statistics.median(target.rates):.0f} | {p50 * 1e3:.2f} | {p99 * 1e3:.2f} "
            f"| {p50 / base_p50:.1f} | {cpu} |"
        )
    return "\n".join(lines) + "\n"


async def measure(ports: tuple[int, int, int], pids: tuple[int, int], seconds: float, rounds: int) -> None:
    """Run both loads over all targets, in interleaved rounds, and print the tables."""
    sized_end = b'"total_tokens": 18}}'
    for title, is_stream, end, connections in (
        ("Plain answers, 1 KB, one connection", False, sized_end, 1),
        (f"Plain answers, 1 KB, {CONNECTIONS} connections", False, sized_end, CONNECTIONS),
        (f"Streams of {CHUNKS} chunks, {CONNECTIONS} connections", True, b"[DONE]\n\n\r\n0\r\n\r\n", CONNECTIONS),
    ):
        targets = [
            Target("direct", ports[0], None),
            Target("tracemill, capture on", ports[1], pids[0]),
            Target("tracemill, capture off for the call", ports[1], pids[0], b"x-tracemill-capture: off\r\n"),
            Target("plain starlette + httpx2, no capture", ports[2], pids[1]),
        ]
        for target in targets:
            await load(target, end, 0.5, connections, is_stream=is_stream)
        targets = [Target(each.name, each.port, each.pid, each.header) for each in targets]
        for _ in range(rounds):
            for target in targets:
                await load(target, end, seconds, connections, is_stream=is_stream)
        print(table(title, targets))


def main() -> None:
    """Start everything, measure, stop everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    ports = (18701, 18702, 18703)
    upstream = f"http://127.0.0.1:{ports[0]}"
    with ExitStack() as stack:
        data_dir = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(started([sys.executable, "-c", UPSTREAM, str(ports[0])], ports[0]))
        ours = [
            sys.executable, "-m", "tracemill.cli", "serve", "--upstream", f"{upstream}/v1", "--port", str(ports[1]),
            "--admin-port", "0", "--data-dir", f"{data_dir}/data",
        ]  # fmt: skip
        our_pid = stack.enter_context(started(ours, ports[1]))
        plain_pid = stack.enter_context(started([sys.executable, "-c", PLAIN, str(ports[2]), upstream], ports[2]))
        asyncio.run(measure(ports, (our_pid, plain_pid), arguments.seconds, arguments.rounds))


if __name__ == "__main__":
    main()
