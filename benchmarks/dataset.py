"""How long recorded calls take to become a split: import, stitching, duplicates, cutting, splitting; no model is asked.

    .venv/bin/python -m benchmarks.dataset [--calls 100000]

Calls are one file of JSON lines, as an export writes them: each turn of a conversation is a line of its own that
repeats the whole history, and all lines are shuffled. Some conversations are regenerated, some are near duplicates of
another one, and a few system prompts are shared by all.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from processing.convert import convert
from processing.dedup import drop_exact, group_conversations
from processing.sources import read_traces
from processing.split import split

VOCABULARY = ["".join(random.Random(n).choices("aeiounrstlmdkgpb", k=2 + n % 9)) for n in range(4000)]
MOST_TURNS = 9


def say(chance: random.Random, words: int) -> str:
    """Return so many words."""
    return " ".join(chance.choices(VOCABULARY, k=words))


def conversations(calls: int, systems: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Give the lines of conversations until there are so many calls."""
    prompts = [f"You are the assistant number {n}. " + say(chance, 120) for n in range(systems)]
    made = 0
    opening = ""
    while made < calls:
        messages: list[dict[str, str]] = [{"role": "system", "content": chance.choice(prompts)}]
        # One in twenty says nearly what the one before it said.
        opening = opening + " please" if opening and chance.random() < 0.05 else say(chance, 30)
        for turn in range(1 + min(int(chance.expovariate(0.28)), MOST_TURNS - 1)):
            messages.append({"role": "user", "content": say(chance, 25) if turn else opening})
            replies = [say(chance, 60) for _ in range(2 if chance.random() < 0.03 else 1)]
            for reply in replies:
                yield {"messages": [*messages, {"role": "assistant", "content": reply}]}
                made += 1
            messages.append({"role": "assistant", "content": replies[-1]})


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--systems", type=int, default=12, help="different system prompts")
    parser.add_argument("--file", type=Path, help="measure over this file, in this process")
    asked = parser.parse_args()
    if asked.file is not None:
        measure(asked.file)
        return
    chance = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traces.jsonl"
        lines = [json.dumps(line).encode() for line in conversations(asked.calls, asked.systems, chance)]
        chance.shuffle(lines)
        path.write_bytes(b"\n".join(lines) + b"\n")
        print(f"{len(lines):,} calls, {path.stat().st_size / 1e6:,.0f} MB")
        # In a process of its own: what made the file is in no figure.
        subprocess.run([sys.executable, "-m", "benchmarks.dataset", "--file", path], check=True)


def measure(path: Path) -> None:
    """Run stage by stage over a file."""
    began, last = time.monotonic(), time.process_time()

    def lap(what: str) -> None:
        nonlocal last
        now = time.process_time()
        print(f"  {what:<28} {now - last:6.1f} s of CPU")
        last = now

    intake = read_traces(path)
    lap(f"read, stitch: {len(intake.conversations):,}")
    distinct = drop_exact(intake.conversations)
    lap(f"exact duplicates: {distinct.dropped:,}")
    groups = group_conversations(distinct.kept)
    lap(f"groups: {len(set(groups.values())):,}")
    converted = convert(distinct.kept, single_turn=True, remove_system_prompt=False, groups=groups)
    lap(f"examples: {len(converted.examples):,}")
    parts = split(converted.examples, train=20_000, test=5_000, seed=1)
    lap(f"split: {len(parts.train):,} / {len(parts.test):,}")
    # Not getrusage: it begins at what the parent held when this process was started.
    (peak,) = (int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    wall_s = time.monotonic() - began
    print(f"  in all {last:.1f} s of CPU, {wall_s:.1f} s by the clock; peak {peak / 1024:,.0f} MB; {parts.leakage}")


if __name__ == "__main__":
    main()
