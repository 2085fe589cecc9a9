"""Versions of datasets: how long rows take to be taken in, frozen, read and verified, and in how much memory.

python -m benchmarks.versions --rows 100000
"""

import argparse
import asyncio
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Json, Part, Row, RowEnd, RowState
from store.datasets.version import Birth

_BATCH = 200
_WORDS = [f"word{number}" for number in range(3000)]
_KEPT = RowEnd(RowState.KEPT, "output", "train")


def make_row(number: int, chance: random.Random) -> Row:
    """Make a row of some 2 KB, a tenth of them for test."""
    asked, said = (" ".join(chance.choices(_WORDS, k=count)) for count in (150, 100))
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said, "weight": 1}]
    metadata: dict[str, Json] = {"source_trace_id": f"019a0000-0000-7000-8000-{number:012x}", "judge_score": None}
    content = {"row_id": f"r_{number:07}", "messages": messages, "prompt": asked, "response": said}
    return Row({**content, "metadata": metadata}, Part.TRAIN if number % 10 else Part.TEST, _KEPT)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Print how long the block took, and the most memory so far."""
    began = time.perf_counter()
    yield
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:<12} {time.perf_counter() - began:6.1f} s   {memory:4.0f} MB")


async def measure(rows: int, folder: Path) -> None:
    """Take a version through its life."""
    chance = random.Random(1)
    async with await DatasetStore.open(folder / "work.db") as store:
        with told("take in"):
            async with store.birth("made", birth=Birth.UPLOAD, manifest={}) as born:
                for start in range(0, rows, _BATCH):
                    batch: Sequence[Row] = [make_row(start + place, chance) for place in range(_BATCH)]
                    await born.add_rows(batch)
        with told("freeze"):
            version = await store.freeze(await store.version("made"))
        with told("read"):
            count = sum([1 async for _ in store.rows(version)])
        with told("verify"):
            checks, _ = await store.verify(version.label)
        with told("open next"):
            following = await store.open_version("made", birth=Birth.CURATE, manifest={})
        with told("diff"):
            await store.diff(version, following)
        with told("discard"):
            await store.discard(following)
        size = (folder / "work.db").stat().st_size / 2**20
        print(f"{count:,} rows, {checks[0].problems} problems, {size:.0f} MiB, hash {version.hash}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(parser.parse_args().rows, Path(folder)))


if __name__ == "__main__":
    main()
