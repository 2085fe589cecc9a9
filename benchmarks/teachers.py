"""What asking teachers through the call table costs over a bare asynchronous client.

    .venv/bin/python -m benchmarks.teachers [--seconds 5] [--rounds 3]

Both ask the same questions of a scripted server that answers each after 50 ms, so many at once. Ours checks the call
table first, commits every answer to the disk before it is used, and keeps the budget. Told is the time by the clock,
as a ratio; the rounds of both are interleaved. A round has as many calls as the server answers in so many seconds, so
that what a run does once, such as reading the machine's authorities, weighs as little as in a run of some minutes.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx2 as httpx

from processing.config_file import parse
from processing.model_client import ModelClient
from processing.parallel import each
from processing.teachers import Teachers
from store.work import WorkStore

DELAY_S = 0.05
PARALLEL = (4, 32)
WORDS = "yes " * 200


async def serve() -> None:
    """Answer every request after the delay; speaks as much HTTP as the clients here need."""
    body = json.dumps(
        {
            "id": "c",
            "object": "chat.completion",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "yes " * 200}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 200},
        }
    ).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            await asyncio.sleep(DELAY_S)
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


async def bare(base_url: str, questions: list[str], parallel: int) -> float:
    """Ask with the client alone."""
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_keepalive_connections=None)) as client:

        async def ask(question: str) -> None:
            body = {"model": "m", "messages": [{"role": "user", "content": question}]}
            (await client.post(f"{base_url}/chat/completions", json=body)).json()

        began = time.monotonic()
        await each(questions, ask, parallel=parallel)
        return time.monotonic() - began


async def ours(base_url: str, questions: list[str], parallel: int, folder: Path) -> float:
    """Ask through the call table."""
    config = parse({"base": {"task": "chat-completion", "llm_num_parallel_requests": parallel}}, source="benchmark")
    async with await WorkStore.open(folder / "work.db") as work, ModelClient(parallel) as client:
        teachers = Teachers(client, work, config, {"TRACEMILL_TEACHER_BASE_URL": base_url})

        async def ask(question: str) -> None:
            answer = await teachers.ask("m", "relabel", [{"role": "user", "content": question}])
            if answer.fault is not None:
                raise SystemExit(answer.problem)

        began = time.monotonic()
        await each(questions, ask, parallel=parallel)
        return time.monotonic() - began


async def measure(base_url: str, seconds: float, rounds: int) -> None:
    """Interleave the rounds and print the ratios."""
    for parallel in PARALLEL:
        calls = round(seconds * parallel / DELAY_S)
        took: dict[str, list[float]] = {"bare": [], "ours": []}
        for number in range(rounds):
            # Some 4 KB a question, as a conversation has.
            questions = [f"Question {number} {n}. " + "Some words of a conversation. " * 130 for n in range(calls)]
            took["bare"].append(await bare(base_url, questions, parallel))
            with tempfile.TemporaryDirectory() as folder:
                took["ours"].append(await ours(base_url, questions, parallel, Path(folder)))
        least = calls * DELAY_S / parallel
        one, other = median(took["bare"]), median(took["ours"])
        print(
            f"{parallel:>3} at once: bare {calls / one:6.1f} calls/s, ours {calls / other:6.1f}; "
            f"ours : bare {other / one:.3f} (the server alone: {least:.2f} s of {one:.2f} s)"
        )


def main() -> None:
    """Start the server, measure, end the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve())
        return
    command = [sys.executable, "-m", "benchmarks.teachers", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as server:
        port = int((server.stdout or sys.stdin.buffer).readline())
        try:
            asyncio.run(measure(f"http://127.0.0.1:{port}/v1", asked.seconds, asked.rounds))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
