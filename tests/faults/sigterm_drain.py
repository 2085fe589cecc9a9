"""A stop lets the calls in flight end, records what outlasts it as interrupted, and exits with 0; nothing is lost.

A round stops the server twice: once with time to finish, once with less than the answers take.
"""

import asyncio
import sys
from pathlib import Path

import httpx2 as httpx

from tests.faults.drill import Report, main
from tests.faults.evidence import check_each_once, records
from tests.faults.load import Received, answer_in_own_words, ask, wait_until
from tests.server import Server
from tests.upstream import Answer, Dawdle, ReceivedCall, ScriptedUpstream

ROUNDS = 10
STREAMS = 20
LONG_S = 60


class Slowly:
    """Stops in the middle of every answer."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, call: ReceivedCall) -> Answer:
        head, *blocks = answer_in_own_words(call)
        return [head, blocks[0], Dawdle(self.seconds), *blocks[1:]]


async def drill(folder: Path, rounds: int) -> Report:
    report = Report()
    with ScriptedUpstream(answer_in_own_words) as upstream:
        for number in range(rounds):
            await _round(report, upstream, folder / f"ends{number}", answer_s=0.6, drain_s=20)
            await _round(report, upstream, folder / f"outlasts{number}", answer_s=LONG_S, drain_s=1)
    return report


async def _round(report: Report, upstream: ScriptedUpstream, data_dir: Path, *, answer_s: float, drain_s: int) -> None:
    upstream.script, upstream.calls = Slowly(answer_s), []
    with Server(upstream.base_url, data_dir, "--drain-timeout", str(drain_s)) as server:
        async with httpx.AsyncClient(timeout=LONG_S) as client:
            asking = [
                asyncio.create_task(ask(client, server.base_url, f"{data_dir.name} {n}", stream=True))
                for n in range(STREAMS)
            ]
            await wait_until(lambda: len(upstream.calls) == STREAMS)
            code = await asyncio.to_thread(server.stop)
            received: list[Received] = await asyncio.gather(*asking)
    report.add(stops=1)
    report.promise(code == 0, f"exit code {code}")
    await check_each_once(report, data_dir, received)
    outcomes = [record.outcome for record in records(data_dir).values()]
    is_in_time = answer_s < drain_s
    expected = "completed" if is_in_time else "interrupted"
    report.add(**{expected: outcomes.count(expected)})
    report.promise(outcomes == [expected] * STREAMS, f"{data_dir.name}: not all {STREAMS} are {expected}: {outcomes}")
    report.promise(all(each.is_whole == is_in_time for each in received), "a client saw another end than is recorded")


if __name__ == "__main__":
    main(sys.modules[__name__])
