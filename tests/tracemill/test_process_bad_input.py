"""`tracemill process` on files that are broken in every way: never a traceback, and the counts add up."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from processing.errors import ProcessingError
from tests.processing.teachers import Fault, Teachers, serving
from tracemill.cli import app

DESCRIPTION = b'{"task_description": "Help."}'
CONFIG = b"""base:
  task: question-answering
trace_processing:
  observation_format: auto
  min_generated_examples: 1
  num_traces_as_training_base: 5
  num_traces_as_testing_base: 5
  num_traces_as_unfiltered_sample: 2
"""
EXIT_CODES = {0, 1, 2, 3, 4}


def line(number: int, **more: Any) -> bytes:
    asked = {"role": "user", "content": f"Question {number * 7919} on {'xyz'[number % 3] * 9}"}
    return json.dumps({"messages": [asked, {"role": "assistant", "content": f"Recorded {number}"}], **more}).encode()


LINES = b"".join(line(number) + b"\n" for number in range(6))
ODD_TOOLS: list[Any] = [
    1,
    "x",
    [1],
    [[]],
    [{}],
    [{"function": 1}],
    [{"function": {"name": 1}}],
    [{"type": "custom", "function": 5}],
    [{"name": "f", "parameters": 7}],
    [{"name": "f", "parameters": {"properties": 5, "required": 3}}],
]
EXTRA = {
    "empty": b"",
    "blank lines": b"\n\r\n\n",
    "binary": bytes(range(256)),
    "UTF-16": LINES.decode().encode("utf-16"),
    "one array": b"[" + b",".join(LINES.splitlines()) + b"]",
    "cut short": LINES[:-20],
    "CRLF": LINES.replace(b"\n", b"\r\n"),
    "a byte order mark": b"\xef\xbb\xbf" + LINES,
    "a huge line": line(99)[:-1] + b', "x": "' + b"y" * 3_000_000 + b'"}',
    "deep": b'{"messages":' + b"[" * 100_000,
    "deep and whole": b'{"messages":' + b"[" * 900 + b"]" * 900 + b"}",
    "keys twice": b'{"messages": [], "messages": [{"role": "user", "content": "a", "content": "b"}]}',
    "the same 1,000 times": (line(1) + b"\n") * 1_000,
    "one conversation": line(1),
    "no assistant": b'{"messages": [{"role": "user", "content": "a"}]}',
    "only tool messages": b'{"messages": [{"role": "tool", "content": "a"}]}',
    "only an assistant": b'{"messages": [{"role": "assistant", "content": "a"}]}',
    "line separators": '{"messages": [{"role": "user", "content": "a\u2028b\u2029\x85"}, {"role": "assistant", '
    '"content": "c\u2028d"}]}'.encode(),
    "half characters": rb'{"messages": [{"role": "user", "content": "\ud800"}, {"role": "assistant", "content": '
    rb'"\udfff"}]}',
    "NaN": b'{"messages": [{"role": "user", "content": "a", "x": NaN}, {"role": "assistant", "content": "b"}]}',
    "odd tools": b"\n".join(line(number, tools=tools) for number, tools in enumerate(ODD_TOOLS)),
    "odd response formats": b"\n".join(
        line(number, response_format=odd)
        for number, odd in enumerate([1, "x", [], {}, {"type": []}, {"type": "json_schema", "json_schema": 5}])
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def teachers() -> Iterator[Teachers]:
    with serving() as found:
        yield found


def process(folder: Path, teachers: Teachers, **files: bytes) -> Result:
    """Run the command on a directory of these files, in this process."""
    named = {"traces_jsonl": LINES, "job_description_json": DESCRIPTION, "config_yaml": CONFIG, **files}
    (folder / "traces").mkdir()
    for name, content in named.items():
        stem, _, suffix = name.rpartition("_")
        (folder / "traces" / f"{stem}.{suffix}").write_bytes(content)
    arguments = ["process", "--data", folder / "traces", "--out", folder / "out", "--data-dir", folder / "data"]
    environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url, "TRACEMILL_TEACHER_API_KEY": ""}
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environ)


def assert_said_or_done(result: Result, out: Path) -> None:
    """Either one sentence says what is wrong and nothing is published, or the counts add up."""
    if isinstance(result.exception, ProcessingError):  # the command line's own main() makes it a sentence
        return
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in EXIT_CODES
    if result.exit_code not in (0, 4):
        assert result.stderr.splitlines()[-1].startswith("error: ")
        assert len(result.stderr.splitlines()[-1]) < 1_500
        assert not (out / "manifest.json").exists()
        return
    report = json.loads((out / "report.json").read_text())
    intake = report["intake"]
    assert intake["records"] == sum(intake[name] for name in ("conversations", "absorbed", "duplicates", "rejected"))
    for stage in report["funnel"]:
        ended = sum(count for reasons in stage["ended"].values() for count in reasons.values())
        assert stage["in"] == stage["out"] + ended
    for totals in report["totals"].values():
        assert totals["entered"] == sum(totals[name] for name in ("kept", "dropped", "failed", "review"))
    manifest = json.loads((out / "manifest.json").read_text())
    for name, rows in report["rows"].items():
        assert rows == manifest["files"][name]["lines"] == (out / name).read_bytes().count(b"\n")
    if not report["rows"]["predictions.jsonl"]:
        assert report["base_model_performance"] is None
    assert report["split"]["leakage"]["groups"] == 0


@pytest.mark.parametrize("extra", EXTRA)
def test_odd_traces_beside_good_ones_or_alone_are_counted(teachers: Teachers, tmp_path: Path, extra: str) -> None:
    for name, content in (("alone", EXTRA[extra]), ("beside", EXTRA[extra] + b"\n" + LINES)):
        (tmp_path / name).mkdir()
        result = process(tmp_path / name, teachers, traces_jsonl=content)
        assert_said_or_done(result, tmp_path / name / "out")
        if name == "beside" and extra not in ("UTF-16", "deep", "deep and whole"):
            assert result.exit_code in (0, 4), result.stderr


def mangled(content: bytes) -> st.SearchStrategy[bytes]:
    """The content with a piece taken out, doubled or replaced."""
    place = st.integers(0, len(content))
    pieces = st.sampled_from(
        [b"", b"\x00", b"\xff", b"{", b"}", b'"', b"\n", b"- ", b": ", b"[", b"null", b"1e999", b"\\u"]
    )
    return st.tuples(place, place, pieces).map(
        lambda cut: content[: min(cut[:2])] + cut[2] + content[max(cut[:2]) :]
    ) | st.tuples(place, pieces).map(lambda put: content[: put[0]] + put[1] + content[put[0] :])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(traces=mangled(LINES), description=mangled(DESCRIPTION), config=mangled(CONFIG), which=st.integers(0, 3))
def test_mangled_files_never_end_in_a_traceback(
    teachers: Teachers, traces: bytes, description: bytes, config: bytes, which: int
) -> None:
    names = ("traces_jsonl", "job_description_json", "config_yaml")
    files = dict(zip(names, (traces, description, config), strict=True))
    # One file at a time, or all: a broken configuration would hide what the others do.
    chosen = files if which == len(names) else {names[which]: files[names[which]]}
    folder = Path(tempfile.mkdtemp())
    try:
        assert_said_or_done(process(folder, teachers, **chosen), folder / "out")
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        (Fault(401), 3, "the key is refused"),
        (Fault(404), 3, "no such model or path"),
        (Fault(302), 3, "it sends us elsewhere"),
        (Fault(400, '{"error": {"message": "no such model"}}'), 3, "status 400: no such model"),
        (Fault(200, '{"choices": []}'), 3, "answered none of"),
        (Fault(200, '{"choices": [{"message": {"content": "I would rather not."}}]}'), 1, "unscored 6"),
        (Fault(200, '{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 1e999}}'), 1, "unscored"),
    ],
    ids=str,
)
def test_a_teacher_that_cannot_help_is_named_with_its_own_words(
    tmp_path: Path, fault: Fault, code: int, says: str
) -> None:
    def answer(_number: int, _body: Any) -> None:
        raise fault

    with serving() as teachers:
        teachers.fault = answer
        result = process(tmp_path, teachers)
    assert_said_or_done(result, tmp_path / "out")
    assert (result.exit_code, says in result.stderr) == (code, True), result.stderr


def test_what_the_teacher_said_stands_in_the_message_of_a_run_with_too_few(tmp_path: Path) -> None:
    def refuse_the_committee(_number: int, body: Any) -> None:
        if "response_format" not in body:
            raise Fault(422, '{"error": {"message": "no such parameter"}}')

    with serving() as teachers:
        teachers.fault = refuse_the_committee
        result = process(tmp_path, teachers, traces_jsonl=line(1))
    assert result.exit_code == 1
    assert "relabel took 1 of 1 examples: no_quorum 1." in result.stderr
    assert "the last as rejected: status 422: no such parameter." in result.stderr
