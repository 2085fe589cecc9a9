"""A corrected answer that somebody gave by feedback becomes the label, where the configuration says so."""

from pathlib import Path

import pytest

from processing import config_file, job_description
from processing.agreement import Method
from processing.candidates import Task
from processing.convert import convert
from processing.model_client import ModelClient
from processing.relabel import relabel
from processing.sources import from_store
from processing.teachers import Teachers as Askers
from store.trace import Reply
from store.traces import TraceReader, TraceWriter
from store.work import WorkStore
from tests.processing.teachers import Teachers
from tests.store.test_feedback import ask
from tests.store.traces import make_trace

QUESTION = b'{"role":"user","content":"Capital of France?"}'
CORRECTED = b'{"role":"assistant","content":"Paris."}'
TRACES = [
    make_trace(1, messages=(QUESTION,), replies=(Reply(0, b'{"role":"assistant","content":"Lyon."}', "stop"),)),
    make_trace(
        2,
        messages=(b'{"role":"user","content":"And of Spain?"}',),
        replies=(Reply(0, b'{"role":"assistant","content":"Madrid."}', "stop"),),
    ),
]


@pytest.mark.parametrize(("is_on", "contents"), [(True, ["Paris.", "Rome."]), (False, ["Rome.", "Rome."])])
async def test_a_demonstration_is_the_label_and_nobody_else_is_asked(
    teachers: Teachers, tmp_path: Path, *, is_on: bool, contents: list[str]
) -> None:
    teachers.reply = lambda _: {"content": "Rome."}
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        changes = [
            ask(TRACES[0], b'{"role":"assistant","content":"Nice."}', 1),
            ask(TRACES[0], CORRECTED, 2, choice=0),
            ask(TRACES[0], b'{"role":"assistant","content":"Lille."}', 3, choice=1),
        ]
        await writer.write(TRACES, changes=changes)
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        intake = await from_store(reader)
    settings = {
        "use_demonstrations": is_on,
        "teacher_model_name": "teacher",
        "relabelling_committee_models": ["one", "two", "three"],
    }
    raw = {"base": {"task": "chat-completion"}, "trace_processing": settings}
    config = config_file.parse(raw, source="config.yaml")
    text = {"task_description": "Help."}
    description = job_description.parse(text, task="chat-completion", source="job_description.json")
    environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url}
    async with await WorkStore.open(tmp_path / "work.db") as work, ModelClient(4, first_wait_s=0.001) as client:
        askers = Askers(client, work, config, environ)
        found = [
            await relabel(example, askers, Task(config, description, "Help."))
            for example in convert(intake.conversations, single_turn=True).examples
        ]
    assert [each.example.messages[-1].content for each in found] == contents
    assert [each.method is Method.DEMONSTRATION for each in found] == [is_on, False]
    assert len([body for body in teachers.requests if body["model"] != "teacher"]) == (3 if is_on else 6)
    assert found[0].is_changed
