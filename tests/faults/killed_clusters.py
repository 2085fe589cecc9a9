"""Clusters whose build is killed are those of the build before, whole; built again, they are as if nobody was killed.

Each round kills `tracemill clusters build` once: while it buys vectors, while it buys names, or after a drawn share of
the time that it takes undisturbed. What was in flight at that moment may be bought again, nothing else. 2,000 traces
in the long form, 400 in the short one.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.clusters import write
from benchmarks.made_intents import make_prompts
from store.clusters.cluster_store import ClusterStore
from tests.faults.drill import Report, main
from tests.faults.load import wait_until
from tests.processing.clusters.embedding_server import Body, EmbeddingServer, serving_embeddings

ROUNDS = 12
TRACES, FEW_TRACES = 2_000, 400
AT_ONCE = 8
"""Batches of texts that are in flight at once, and calls for names."""
CONFIG = """\
base: {{llm_num_parallel_requests: 8}}
models:
  e: {{base_url: {url}}}
  namer: {{base_url: {url}}}
"""
MOMENTS = ("vectors", "names", "any")


async def drill(folder: Path, rounds: int) -> Report:
    report = Report()
    chance = random.Random(rounds)
    for name in ("whole", "killed"):
        (folder / name).mkdir()
        await write(folder / name / "traces.db", make_prompts(TRACES if rounds >= ROUNDS else FEW_TRACES))
    named: list[str] = []
    with serving_embeddings() as server:
        server.chat = lambda body: name_for(body, named)
        (folder / "config.yaml").write_text(CONFIG.format(url=server.base_url))
        began = time.monotonic()
        code = (await build(folder, "whole")).wait()
        whole_s = time.monotonic() - began
        report.promise(code == 0, f"the undisturbed build ended with {code}")
        wanted, needed = await clusters_of(folder / "whole"), (Counter(server.texts), len(named))
        batches, names = len(server.requests), len(named)
        server.requests.clear()
        named.clear()
        for number in range(rounds):
            before = await clusters_of(folder / "killed")
            victim = await build(folder, "killed")
            moment = moment_of(MOMENTS[number % 3], server, named, chance, (batches, names, whole_s))
            await wait_until(lambda victim=victim, moment=moment: victim.poll() is not None or moment(), 60)
            victim.kill()
            victim.wait(10)
            after = await clusters_of(folder / "killed")
            report.promise(after in (before, wanted), f"round {number}: the clusters are neither the old nor the new")
        code = (await build(folder, "killed")).wait()
        report.promise(code == 0, f"the last build ended with {code}")
    again = Counter(server.texts) - needed[0]
    report.tell(kills=rounds, texts=needed[0].total(), names=names, texts_again=again.total())
    report.tell(names_again=len(named) - names)
    most = max(len(body["input"]) for body in server.requests)
    report.promise(again.total() <= rounds * AT_ONCE * most, f"{again.total()} texts were bought again")
    report.promise(len(named) - names <= rounds * AT_ONCE, f"{len(named) - names} names were bought again")
    report.promise(not needed[0] - Counter(server.texts), "the killed build bought other texts")
    report.promise(await clusters_of(folder / "killed") == wanted, "the clusters differ")
    return report


def moment_of(
    kind: str, server: EmbeddingServer, named: list[str], chance: random.Random, whole: tuple[int, int, float]
) -> Callable[[], bool]:
    """Draw the moment of a kill; one that lies behind all that is left to buy never comes."""
    batches, names, whole_s = whole
    began, texts, calls = time.monotonic(), len(server.requests), len(named)
    after = chance.random()
    if kind == "vectors":
        return lambda: len(server.requests) > texts + after * batches / 3
    if kind == "names":
        return lambda: len(named) > calls + after * names / 3
    return lambda: time.monotonic() - began > after * whole_s


def name_for(body: Body, named: list[str]) -> str:
    """Name a cluster by what is asked, so that the same question has the same answer."""
    text = json.dumps(body["messages"])
    named.append(text)
    name = f"intent {sum(text.encode()) % 1_000_003}"
    return json.dumps({"reason": "so", "name": name, "description": f"What is {name}."})


async def clusters_of(data: Path) -> Any:
    """Everything that a build decides; None before the first."""
    if not (data / "work.db").exists():
        return None
    async with await ClusterStore.open(data / "work.db") as store:
        last = await store.last_build()
        if last is None:
            return None
        found = [(one.id, one.name, one.description, one.terms, one.facts) for one in await store.clusters()]
        return last.settings, last.counts, found, sorted(await store.members(), key=lambda one: one.trace_id)


async def build(folder: Path, place: str) -> "subprocess.Popen[bytes]":
    options = ["--embedder", "e", "--name-model", "namer", "--config", "config.yaml", "--data-dir", place]
    return await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-m", "tracemill.cli", "clusters", "build", *options],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("TRACEMILL")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main(sys.modules[__name__])
