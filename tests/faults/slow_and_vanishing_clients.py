"""Clients that crawl or vanish at any moment leave nothing behind and hold up nobody else.

A round is 40 such clients, beside others that behave.
"""

import asyncio
import json
import random
import socket
import struct
import sys
from collections import Counter
from pathlib import Path

from tests import chat
from tests.faults.drill import Report, main
from tests.faults.evidence import check_each_once, metrics
from tests.faults.load import Load, answer_in_own_words, p99_ms, wait_until
from tests.process_state import open_sockets
from tests.server import Server
from tests.upstream import Answer, Dawdle, ReceivedCall, ScriptedUpstream

ROUNDS = 20
CLIENTS = 40


def answer(call: ReceivedCall) -> Answer:
    """Answer the odd ones slowly, so that they can leave in the middle."""
    steps = list(answer_in_own_words(call))
    if call.json()["messages"][-1]["content"].startswith("odd"):
        return [step for each in steps for step in (each, Dawdle(0.02))]
    return steps


async def misbehave(port: int, number: int, chance: random.Random) -> str:
    """Be one odd client; return which kind."""
    body = json.dumps(
        {"model": chat.MODEL, "stream": number % 2 == 0, "messages": [{"role": "user", "content": f"odd {number}"}]}
    ).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n"
    request = head + b"content-length: %d\r\n\r\n%s" % (len(body), body)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    kind = chance.choice(["half a head", "half a body", "no wait", "mid answer", "reset", "crawl"])
    try:
        match kind:
            case "half a head":
                writer.write(request[: chance.randrange(1, len(head))])
            case "half a body":
                writer.write(request[: -chance.randrange(1, len(body))])
            case "crawl":
                for at in range(0, len(request), 16):
                    writer.write(request[at : at + 16])
                    await asyncio.sleep(0.005)
                while await reader.read(64):
                    await asyncio.sleep(0.001)
            case _:
                writer.write(request)
        await writer.drain()
        if kind in ("mid answer", "reset"):
            await reader.read(chance.randrange(1, 300))
        if kind == "reset":
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        elif kind != "crawl":
            await asyncio.sleep(chance.random() * 0.05)
    except ConnectionError:
        kind += ", refused"
    finally:
        writer.close()
    return kind


async def drill(folder: Path, rounds: int) -> Report:
    report, load, chance = Report(), Load(6), random.Random(3)
    kinds: Counter[str] = Counter()
    data_dir = folder / "data"
    with ScriptedUpstream(answer) as upstream, Server(upstream.base_url, data_dir) as server:
        (worker,) = server.children("worker")
        idle = open_sockets(worker)
        async with load.on(server):
            await load.more(100)
            before = list(load.received)
            waited = 0
            for round_number in range(rounds):
                numbers = range(round_number * CLIENTS, (round_number + 1) * CLIENTS)
                seen = len(load.received)
                async with asyncio.timeout(30):
                    kinds.update(await asyncio.gather(*(misbehave(server.port, n, chance) for n in numbers)))
                waited += load.waiting_since(seen)
            during = load.received[len(before) :]

        def in_flight() -> float:
            return metrics(server).total("tracemill_calls_in_flight")

        await wait_until(lambda: in_flight() == 0, 10)
        await wait_until(lambda: open_sockets(worker) <= idle + CLIENTS + 6, 10)
        await check_each_once(report, data_dir, load.received)
        ended = metrics(server)
        left = int(ended.total("tracemill_calls_total", outcome="client_disconnect"))
        report.promise(server.children("worker") == [worker], "the worker died")
        report.tell(
            **dict(sorted(kinds.items())),
            recorded_as_client_disconnect=left,
            p99_ms_before=p99_ms(before),
            p99_ms_during=p99_ms(during),
            sockets_before=idle,
            sockets_after=open_sockets(worker),
        )
    report.promise(left, "no departure was recorded: the drill proves nothing")
    report.promise(len(load.whole) == len(load.received), "a client that behaved was failed")
    report.promise(not waited, f"{waited} clients that behaved waited for the odd ones")
    return report


if __name__ == "__main__":
    main(sys.modules[__name__])
