"""A review that is killed leaves every decision whole, with its row, or not made; a file of them is taken whole or not.

Each round kills `tracemill review --apply` once, as soon as a drawn number of decisions stand in the database, or after
a drawn share of the time that it takes undisturbed. Then the same file is applied to its end, which must come out as if
nobody had been killed. 200 rows in the long form, 60 in the short one.
"""

import asyncio
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from store.datasets.dataset_store import DatasetStore
from store.datasets.decided_row import carried
from store.datasets.row import Row
from tests.faults.drill import Report, main
from tests.faults.load import wait_until
from tests.tracemill.review.reviewing import NAME, a_store, row

ROUNDS = 30
ROWS, FEW_ROWS = 200, 60
FILE = "decisions.jsonl"
COUNT = "SELECT count(*) FROM decisions"
KINDS = ("accept", "reject", "edit", "skip")


async def drill(folder: Path, rounds: int) -> Report:
    report = Report()
    chance = random.Random(rounds)
    count = ROWS if rounds >= ROUNDS else FEW_ROWS
    (folder / "before").mkdir()
    async with a_store(folder / "before", [ticket(number) for number in range(count)]):
        pass
    await prepare(folder, count)
    shutil.copytree(folder / "before", folder / "whole")
    began = time.monotonic()
    code = (await review(folder, "whole", "--apply", FILE)).wait()
    whole_s = time.monotonic() - began
    report.promise(code == 0, f"the undisturbed review ended with {code}")
    wanted = await rows_of(folder / "whole")
    taken = 0
    for number in range(rounds):
        place = f"killed-{number}"
        shutil.copytree(folder / "before", folder / place)
        moment = chance.random() * whole_s if number % 2 else None
        await kill(folder, place, moment, chance.randint(1, count))
        taken += await look(folder / place, count, report, number)
        code = (await review(folder, place, "--apply", FILE)).wait()
        report.promise(code == 0, f"round {number}: applying again ended with {code}")
        report.promise(await rows_of(folder / place) == wanted, f"round {number}: the rows differ")
        shutil.rmtree(folder / place)
    report.tell(kills=rounds, decisions=count, taken_when_killed=taken)
    return report


def ticket(number: int) -> Row:
    words = " ".join(f"{random.Random(number * 100 + at).getrandbits(32):x}" for at in range(12))
    return row(f"ticket {words}", f"label {number % 7}", agreement=0.3)


async def prepare(folder: Path, count: int) -> None:
    """Choose all rows, and write a decision on each."""
    code = (await review(folder, "before", "--limit", str(count), "--export", FILE)).wait()
    assert code == 0, f"the export ended with {code}"
    lines = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    assert len(lines) == count, f"{len(lines)} of {count} rows were chosen"
    for number, line in enumerate(lines):
        line["decision"] = KINDS[number % len(KINDS)]
        if line["decision"] == "edit":
            line["messages"][-1]["content"] = f"written by a person {number}"
    (folder / FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))


async def kill(folder: Path, place: str, moment: float | None, enough: int) -> None:
    """Kill a review at a moment, or once so many decisions stand; one that is faster has ended."""
    victim = await review(folder, place, "--apply", FILE)
    with closing(sqlite3.connect(folder / place / "work.db")) as db:
        began = time.monotonic()

        def is_time() -> bool:
            if victim.poll() is not None:
                return True
            if moment is not None:
                return time.monotonic() - began >= moment
            return bool(db.execute(COUNT).fetchone()[0] >= enough)

        await wait_until(is_time, 60)
    victim.kill()
    victim.wait(10)


async def look(data: Path, count: int, report: Report, number: int) -> bool:
    """See what a killed review left; tell whether the file was taken."""
    async with await DatasetStore.open(data / "work.db") as store:
        decisions = await store.decisions(NAME)
        made = len(await store.decision_log(NAME))
        rows = [found async for found in store.rows(await store.version(NAME))]
    report.promise(made in (0, count), f"round {number}: {made} of {count} decisions were taken")
    apart = sum(carried(found, decisions) is not found for found in rows)
    report.promise(not apart, f"round {number}: {apart} rows are not as was decided about them")
    return made > 0


async def rows_of(data: Path) -> dict[str, Any]:
    async with await DatasetStore.open(data / "work.db") as store:
        return {found.row_id: what(found) async for found in store.rows(await store.version(NAME))}


def what(found: Row) -> Any:
    return found.content["messages"], found.end.state, found.end.stage, found.end.reason


async def review(folder: Path, place: str, *arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tracemill.cli", "review", NAME, *arguments, "--who", "ann", "--data-dir", place]
    return await asyncio.to_thread(
        subprocess.Popen, command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


if __name__ == "__main__":
    main(sys.modules[__name__])
