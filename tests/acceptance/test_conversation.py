"""A conversation of twelve turns, recorded call by call: stored once, one conversation, twelve examples."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import chat
from tests.acceptance.test_openai_client import TOOLS, client
from tests.server import Server, tracemill
from tests.upstream import ReceivedCall, ScriptedUpstream, Step

TURNS = 12
SYSTEM = "You are a helpful banking assistant. " + "Be brief, be right, name amounts in dollars. " * 40
CONFIG = """
base:
  task: question-answering
trace_processing:
  relevance_filtering: false
  relabel: false
  evaluate_original_model: false
  min_generated_examples: 1
  num_traces_as_training_base: 1
  num_traces_as_testing_base: {testing}
"""


def answer(call: ReceivedCall) -> list[Step]:
    asked = call.json()["messages"][-1]["content"]
    return chat.replying(chat.text(f"The answer to {asked!r} is {len(asked)}."))(call)


def converse(base_url: str, turns: int, name: str) -> None:
    """Talk as an application does: the whole history on every call, every other turn streamed."""
    messages: list[Any] = [{"role": "system", "content": SYSTEM}]
    with client(base_url) as talking:
        for turn in range(turns):
            messages.append({"role": "user", "content": f"{name}: question number {turn}, what is it?"})
            if turn % 2:
                with talking.chat.completions.stream(model=chat.MODEL, messages=messages, tools=TOOLS) as stream:
                    reply = stream.get_final_completion().choices[0].message
            else:
                reply = (
                    talking.chat.completions.create(  # type: ignore[assignment]
                        model=chat.MODEL, messages=messages, tools=TOOLS
                    )
                    .choices[0]
                    .message
                )
            messages.append({"role": "assistant", "content": reply.content})


def process(data_dir: Path, out: Path, testing: int = 0) -> dict[str, Any]:
    """Make a dataset of the store with no teacher at all; return the report."""
    folder = out.parent
    (folder / "job.json").write_text(json.dumps({"task_description": "Answer banking questions."}))
    (folder / "config.yaml").write_text(CONFIG.format(testing=testing))
    done = tracemill(
        "process", "--from-store", "--data-dir", data_dir, "--job-description", folder / "job.json",
        "--config", folder / "config.yaml", "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


@pytest.fixture
def recorded(upstream: ScriptedUpstream, tmp_path: Path) -> Path:
    upstream.script = answer
    with Server(upstream.base_url, tmp_path / "data") as server:
        converse(server.base_url, TURNS, "Ada")
        server.wait_traces(TURNS)
    return tmp_path / "data"


def test_it_comes_out_as_one_conversation_and_converts_to_twelve_examples(recorded: Path, tmp_path: Path) -> None:
    report = process(recorded, tmp_path / "out", testing=0)
    examples = rows(tmp_path / "out" / "train.jsonl")
    assert len(examples) == TURNS, "a proxy that counts each call's history would give 78"
    assert len({row["metadata"]["conversation_id"] for row in examples}) == 1
    assert sorted(len(row["messages"]) for row in examples) == [1 + 2 * turn for turn in range(1, TURNS + 1)]
    came_in = json.dumps(report)
    assert str(TURNS) in came_in
    traces = {trace_id for row in examples for trace_id in row["metadata"]["source_trace_ids"]}
    assert len(traces) == TURNS, "each example names the trace that its reply came from"


def test_it_is_stored_once_and_its_bytes_grow_linearly(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.script = answer
    kept: dict[int, int] = {}
    sent: dict[int, int] = {}
    for turns in (TURNS // 2, TURNS, TURNS * 2):
        before = len(upstream.calls)
        with Server(upstream.base_url, tmp_path / f"data{turns}") as server:
            converse(server.base_url, turns, "Grace")
            server.wait_traces(turns)
            stats = server.admin("/admin/api/stats")
        kept[turns] = stats["body_bytes"]
        sent[turns] = sum(len(call.body) for call in upstream.calls[before:])
        # A node for the system prompt, one a question, one a reply, and the reply once more as the client repeats it.
        assert stats["nodes"] <= 1 + 3 * turns
    print(f"\nbytes by turns: sent {sent}, kept {kept}")
    first, second = kept[TURNS] - kept[TURNS // 2], kept[TURNS * 2] - kept[TURNS]
    assert second < 2.1 * first, "twelve more turns may cost twice what six more did: not more"
    assert sent[TURNS * 2] > 2.5 * sent[TURNS], "what was sent grows with the square, towards four times"
