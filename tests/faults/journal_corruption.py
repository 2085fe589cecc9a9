"""Damage inside a journal costs only the calls it touches: they are counted, and the rest is whole.

A round flips a byte, or overwrites a stretch, somewhere in what ingest has not read yet, under load.
"""

import os
import random
import signal
import sys
from pathlib import Path

from proxy.journal.format import SEGMENT_HEAD_SIZE
from tests.faults.drill import Report, main
from tests.faults.evidence import check_each_once, dead_letters
from tests.faults.load import Load, answer_in_own_words
from tests.server import Server
from tests.upstream import ScriptedUpstream

ROUNDS = 200
STRETCH = 6000
"""Longer than any entry of this load: a stretch may touch four calls, for each has two entries beside others'."""
TOUCHED_BY_STRETCH = 12


async def drill(folder: Path, rounds: int) -> Report:
    report, load, chance = Report(), Load(), random.Random(11)
    data_dir = folder / "data"
    stretches = 0
    with ScriptedUpstream(answer_in_own_words) as upstream, Server(upstream.base_url, data_dir) as server:
        async with load.on(server):
            (ingest,) = server.children("ingest")
            os.kill(ingest, signal.SIGSTOP)
            await load.more(max(100, rounds * 3))
            for number in range(rounds):
                (segment, *_) = chance.sample(sorted((data_dir / "journal").glob("*/*.seg")), 1)
                size = segment.stat().st_size
                if number % 10 == 9:
                    stretches += 1
                    overwrite(segment, chance.randrange(SEGMENT_HEAD_SIZE, size - STRETCH), chance.randbytes(STRETCH))
                else:
                    flip(segment, chance.randrange(SEGMENT_HEAD_SIZE, size), chance)
                await load.more(1)
            os.kill(ingest, signal.SIGCONT)
            await load.more(100)
        at_most = rounds - stretches + stretches * TOUCHED_BY_STRETCH
        # When the last one is there, whatever the damage cost is known.
        await check_each_once(report, data_dir, load.received, missing=at_most, timeout_s=30)
        letters = await dead_letters(data_dir)
    report.tell(bytes_flipped=rounds - stretches, stretches_overwritten=stretches, dead_letters=letters.total())
    report.promise(len(load.whole) == len(load.received), f"{len(load.received) - len(load.whole)} calls failed")
    report.promise(report.figures["not_exported"], "no call was touched: the drill proves nothing")
    report.promise(letters["bad_crc"], "the damage is not counted")
    return report


def flip(path: Path, offset: int, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ chance.randrange(1, 256)]))


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


if __name__ == "__main__":
    main(sys.modules[__name__])
