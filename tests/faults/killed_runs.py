"""A run of the processor that is killed and started again ends with the same bytes, and pays for nothing twice.

Each round kills the run with SIGKILL at a moment that is drawn, always in the middle of its calls. What was in flight
at that moment may be asked again, nothing else: whoever kills a process cannot know whether its last questions were
answered. 400 traces in the long form, 60 in the short one.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2 as httpx

from tests.faults.drill import Report, main
from tests.faults.load import wait_until
from tests.processing.teachers import Body, Teachers, serving

ROUNDS = 20
PARALLEL = 8
TOPICS = ("loan", "fee", "card limit", "rate", "transfer", "account", "branch", "saving", "mortgage", "overdraft")
CONFIG = f"""\
base: {{task: question-answering, llm_num_parallel_requests: {PARALLEL}}}
trace_processing:
  min_generated_examples: 1
  relevance_filtering_batch_size: 8
  num_traces_as_training_base: 300
  num_traces_as_testing_base: 100
  relabelling_committee_models: [one, two, three]
"""


async def drill(folder: Path, rounds: int) -> Report:
    report = Report()
    chance = random.Random(rounds)
    upload(folder / "traces", 20 * rounds if rounds >= ROUNDS else 60)
    with serving() as teachers:
        code = (await run(folder, teachers, "whole")).wait()
        report.promise(code == 0, f"the undisturbed run ended with {code}")
        needed = [text(body) for body in teachers.requests]
        report.promise(len(set(needed)) == len(needed), "the undisturbed run asked something twice")
        teachers.requests.clear()
        ended: list[int] = []
        for number in range(rounds):
            await kill_in_the_middle(folder, teachers, chance, len(needed) // (rounds + 1), number)
            await all_received(teachers)
            ended.append(len(teachers.requests))
        code = (await run(folder, teachers, "killed")).wait()
        report.promise(code == 0, f"the last run ended with {code}")
        asked = [text(body) for body in teachers.requests]
    for number, (begin, end) in enumerate(zip([0, *ended], ended, strict=False)):
        lost = len(set(asked[begin:end]) & set(asked[end:]))
        report.promise(
            lost <= PARALLEL, f"{lost} questions of run {number} were asked again, {PARALLEL} were in flight"
        )
        report.promise(len(set(asked[begin:end])) == end - begin, f"run {number} asked something twice")
    report.tell(kills=rounds, calls_needed=len(needed), calls_sent=len(asked), asked_again=len(asked) - len(set(asked)))
    report.promise(set(asked) == set(needed), "the killed run asked other questions than the undisturbed one")
    report.promise(files(folder / "killed") == files(folder / "whole"), "the files differ")
    return report


async def kill_in_the_middle(folder: Path, teachers: Teachers, chance: random.Random, share: int, number: int) -> None:
    """Kill a run once it has asked some more, so that the kills are spread over the whole of the work."""
    enough = len(teachers.requests) + chance.randint(max(share // 2, 1), max(share, 2))
    victim = await run(folder, teachers, "killed")
    await wait_until(lambda: len(teachers.requests) >= enough or victim.poll() is not None, 60)
    assert victim.poll() is None, f"run {number} ended by itself with {victim.poll()}"
    victim.kill()
    victim.wait(10)


async def all_received(teachers: Teachers) -> None:
    """Wait until the teachers have read all that the dead process sent: what is sent now is read after it."""
    async with httpx.AsyncClient() as client:
        for _ in range(2):
            await client.get(f"{teachers.base_url}/nothing")


async def run(folder: Path, teachers: Teachers, out: str) -> "subprocess.Popen[bytes]":
    arguments = ["process", "--data", "traces", "--out", out, "--data-dir", f"{out}-data"]
    return subprocess.Popen(
        [sys.executable, "-m", "tracemill.cli", *arguments],
        cwd=folder,
        env={**os.environ, "TRACEMILL_TEACHER_BASE_URL": teachers.base_url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def upload(folder: Path, count: int) -> None:
    folder.mkdir()
    lines = [json.dumps({"messages": conversation(number)}) for number in range(count)]
    (folder / "traces.jsonl").write_text("\n".join(lines))
    (folder / "job_description.json").write_text(json.dumps({"task_description": "Answer questions on accounts."}))
    (folder / "config.yaml").write_text(CONFIG)


def conversation(number: int) -> list[dict[str, str]]:
    topic = random.Random(number).choices(TOPICS, k=9)
    said = f"Question {number} about {' and '.join(topic)} of {number * 7919} pounds"
    return [{"role": "user", "content": said}, {"role": "assistant", "content": f"The recorded answer {number}"}]


def text(body: Body) -> str:
    return json.dumps(body, sort_keys=True)


def files(folder: Path) -> dict[str, Any]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


if __name__ == "__main__":
    main(sys.modules[__name__])
