"""Clusters of prompts whose intents are known: how pure they are, what they are called, and what they take.

    python -m benchmarks.clusters --prompts 10000
    python -m benchmarks.clusters --prompts 100000 --brief

The prompts are written into a store as calls, and then grouped as `tracemill clusters build` does it. Time and memory
are those of the build alone, from opening the store to the clusters in `work.db`.
"""

import argparse
import asyncio
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from math import log
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from benchmarks.made_intents import Prompt, make_prompts
from processing.clusters.build import BuildSettings, build_clusters
from store import json_text
from store.clusters.cluster import Cluster
from store.clusters.cluster_store import ClusterStore
from store.trace import Outcome, Reply, Trace
from store.traces import TraceReader, TraceWriter
from tracemill.cluster_text import cluster_line

_BATCH = 2_000
_BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)
_MODELS = ("gpt-4o-mini", "gpt-4o", "llama-3.3-70b")


class Measured(NamedTuple):
    """What a build came to.

    Attributes:
        purity: Share of the clustered traces whose intent is the most frequent of their cluster.
        nmi: Normalised mutual information of clusters and intents, over the clustered traces.
        clustered: Share of the traces that are in a cluster.
        wall_s: Seconds on the clock.
        cpu_s: Seconds of all cores.
        peak_mb: Most memory of the process.
        clusters: What was found.
        intents: The intents in each cluster, by its id.
    """

    purity: float
    nmi: float
    clustered: float
    wall_s: float
    cpu_s: float
    peak_mb: float
    clusters: list[Cluster]
    intents: Mapping[int, Counter[str]]


def trace_of(number: int, prompt: str) -> Trace:
    """Make a call of a prompt."""
    return Trace(
        id=UUID(int=number + 1),
        created_at=_BEGIN + timedelta(seconds=number),
        method="POST",
        path="/v1/chat/completions",
        route="default",
        upstream="https://api.example.com/v1",
        outcome=Outcome.UPSTREAM_ERROR if number % 50 == 7 else Outcome.COMPLETED,
        endpoint="chat.completions",
        status=200,
        requested_model=_MODELS[number % 3],
        served_model=_MODELS[number % 3],
        messages=(
            json_text.dumps({"role": "system", "content": "You are a helpful assistant."}),
            json_text.dumps({"role": "user", "content": prompt}),
        ),
        replies=(Reply(0, json_text.dumps({"role": "assistant", "content": f"Answer {number}."}), "stop"),),
    )


async def write(path: Path, prompts: Sequence[Prompt]) -> None:
    """Write prompts into a new store; the number of each is its place."""
    async with await TraceWriter.open(path) as writer:
        for start in range(0, len(prompts), _BATCH):
            await writer.write(
                [trace_of(start + at, prompt.text) for at, prompt in enumerate(prompts[start : start + _BATCH])]
            )


async def measure(folder: Path, prompts: Sequence[Prompt], settings: BuildSettings) -> Measured:
    """Build clusters of a written store, and hold them against the intents."""
    began, cpu = time.perf_counter(), time.process_time()
    async with (
        await TraceReader.open(folder / "traces.db") as reader,
        await ClusterStore.open(folder / "work.db") as store,
    ):
        built = await build_clusters(store, reader, settings)
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        members = await store.members()
    found: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for member in members:
        if member.cluster is not None:
            found[member.cluster][prompts[member.trace_id.int - 1].intent] += 1
    inside = sum(sum(counts.values()) for counts in found.values())
    return Measured(
        purity=sum(max(counts.values()) for counts in found.values()) / max(inside, 1),
        nmi=nmi_of(found),
        clustered=inside / len(prompts),
        wall_s=wall_s,
        cpu_s=cpu_s,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        clusters=built.clusters,
        intents=found,
    )


def nmi_of(found: Mapping[int, Counter[str]]) -> float:
    """Mutual information of two groupings over the mean of their entropies: 1 where they are the same."""
    intents: Counter[str] = Counter()
    for counts in found.values():
        intents.update(counts)
    total = sum(intents.values())
    sizes = [sum(counts.values()) for counts in found.values()]
    mean = (_entropy(sizes, total) + _entropy(list(intents.values()), total)) / 2
    shared = sum(
        count / total * log(count * total / (sum(counts.values()) * intents[intent]))
        for counts in found.values()
        for intent, count in counts.items()
    )
    return shared / mean if mean else 1.0


def _entropy(sizes: Sequence[int], total: int) -> float:
    return -sum(size / total * log(size / total) for size in sizes)


def _run(folder: Path, prompts: Sequence[Prompt], settings: BuildSettings) -> Measured:
    return asyncio.run(measure(folder, prompts, settings))


def main() -> None:
    """Print what a build comes to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1, help="of the prompts")
    parser.add_argument("--brief", action="store_true", help="no names")
    asked = parser.parse_args()
    prompts = make_prompts(asked.prompts, seed=asked.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(write(folder / "traces.db", prompts))
        # In a process of its own, so that the memory is that of the build.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found = pool.submit(_run, folder, prompts, BuildSettings()).result()
    if not asked.brief:
        for cluster in found.clusters:
            intents = ", ".join(f"{intent} {count:,}" for intent, count in found.intents[cluster.id].most_common(3))
            print(f"{cluster_line(cluster, 44)}\n             {intents}")
    print(
        f"{len(prompts):,} prompts, {len({prompt.intent for prompt in prompts})} intents: "
        f"{len(found.clusters)} clusters, purity {found.purity:.3f}, NMI {found.nmi:.3f}, "
        f"{found.clustered:.1%} clustered; "
        f"{found.wall_s:.1f} s, {found.cpu_s:.1f} s of CPU, {found.peak_mb:,.0f} MB"
    )


if __name__ == "__main__":
    sys.exit(main())
