"""Whatever an upstream sends, breaks off or holds back, each call has one trace, and only whole answers are whole.

A round is 100 calls, each answered by one of the ways in which upstreams go wrong, chosen at random.
"""

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

import httpx2 as httpx

from tests.faults.drill import Report, main
from tests.faults.evidence import check_each_once, records, stored
from tests.faults.load import Received, answer_in_own_words, ask, wait_until
from tests.process_state import open_sockets
from tests.server import Server
from tests.upstream import Answer, Dawdle, Hangup, ReceivedCall, Reset, ScriptedUpstream, Stall, Step

ROUNDS = 20
CALLS = 100
AT_ONCE = 20
READ_TIMEOUT_S = 1


class Chaos:
    """Answers well in its own words, or goes wrong in one of many ways; counts which."""

    def __init__(self, seed: int) -> None:
        self.ways: Counter[str] = Counter()
        self._chance = random.Random(seed)

    def __call__(self, call: ReceivedCall) -> Answer:
        steps = list(answer_in_own_words(call))
        way = self._chance.choice(
            ["well", "well", "reset", "hang up", "stall", "cut bytes", "garbage", "silence", "dribble", "wrong length"]
        )
        self.ways[way] += 1
        at = self._chance.randrange(1, len(steps))
        match way:
            case "reset":
                return [*steps[:at], Reset()]
            case "hang up":
                return [*steps[:at], Hangup()]
            case "stall":
                return [*steps[:at], Stall()]
            case "cut bytes":
                whole = _joined(steps)
                return [whole[: self._chance.randrange(1, len(whole))], Hangup()]
            case "garbage":
                return [self._chance.randbytes(400), Hangup()]
            case "silence":
                return [Hangup()]
            case "dribble":
                whole = _joined(steps)
                cuts = sorted(self._chance.sample(range(1, len(whole)), 8))
                pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
                return [step for piece in pieces for step in (piece, Dawdle(0.005))]
            case "wrong length":
                return [_joined(steps).replace(b"content-length: ", b"content-length: 9"), Hangup()]
        return steps


async def drill(folder: Path, rounds: int) -> Report:
    report = Report()
    chaos = Chaos(5)
    received: list[Received] = []
    data_dir = folder / "data"
    with (
        ScriptedUpstream(chaos) as upstream,
        Server(upstream.base_url, data_dir, "--read-timeout-s", str(READ_TIMEOUT_S)) as server,
    ):
        (worker,) = server.children("worker")
        idle = open_sockets(worker)
        left = iter(range(rounds * CALLS))
        async with httpx.AsyncClient(timeout=20) as client:

            async def keep_asking() -> None:
                for number in left:
                    got = await ask(client, server.base_url, f"chaos {number}", stream=number % 2 == 0)
                    received.append(got)

            await asyncio.gather(*(keep_asking() for _ in range(AT_ONCE)))
        ids = {each.trace_id for each in received if each.trace_id}
        await wait_until(lambda: ids <= stored(data_dir))
        await check_each_once(report, data_dir, received)
        everything = records(data_dir)
        # Idle connections to the upstream may stay; as many as were in use at once.
        await wait_until(lambda: open_sockets(worker) <= idle + AT_ONCE)
        report.promise(server.children("worker") == [worker], "the worker died")
    outcomes = Counter(record.outcome for record in everything.values())
    report.tell(**{f"upstream: {way}": count for way, count in sorted(chaos.ways.items())}, **dict(outcomes))
    report.promise(len(everything) == len(received), f"{len(received)} calls, {len(everything)} traces")
    whole = {each.trace_id for each in received if each.is_whole}
    claimed = {trace_id for trace_id, record in everything.items() if record.outcome == "completed"}
    report.promise(claimed <= whole, f"{len(claimed - whole)} answers that no client had whole are completed")
    report.promise(len(whole) >= chaos.ways["well"], "a good answer did not come through")
    report.promise(all(each.status for each in received), "a call ended without an answer's head")
    return report


def _joined(steps: list[Step]) -> bytes:
    return b"".join(step for step in steps if isinstance(step, bytes))


if __name__ == "__main__":
    main(sys.modules[__name__])
