"""`tracemill import`, through the command line."""

import asyncio
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from store.recorded.source_format import AUTO, AskedFormat, SourceFormat
from store.trace import Trace
from store.trace_code import encode_traces
from store.traces import TraceReader
from tracemill.cli import main

EPOCH = datetime.fromtimestamp(0, UTC)
SEEDS = Path(__file__).parents[1] / "processing" / "data" / "seeds"


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Iterator[Run]:
    """The command line in this process and in a folder of its own."""
    umask = os.umask(0o022)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["tracemill", *(str(argument) for argument in arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsysbinary.readouterr()
        return Result(int(exit_.value.code or 0), out.decode(), err.decode())

    yield run
    os.umask(umask)


def line(text: str, **more: Any) -> bytes:
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": f"re {text}"}]
    return json.dumps({"messages": messages, **more}).encode() + b"\n"


def stored(data_dir: Path) -> list[Trace]:
    async def read() -> list[Trace]:
        async with await TraceReader.open(data_dir / "traces.db") as reader:
            return [trace async for trace in reader.traces()]

    return asyncio.run(read())


def test_the_seeds_files_are_imported_and_told(run: Run) -> None:
    result = run("import", *[SEEDS / f"{name}.jsonl" for name in ("banking", "weather", "langfuse")], "--data-dir", "d")
    assert result.code == 0
    assert result.out.splitlines() == [
        "Read 4 lines: 4 records (3 openai_messages, 1 langfuse).",
        "Stored 4 traces in d; already there: 0.",
    ]
    assert len(stored(Path("d"))) == 4
    assert not Path("rejected.jsonl").exists()


def test_importing_again_stores_nothing_and_an_overlapping_file_only_what_is_new(run: Run) -> None:
    Path("one.jsonl").write_bytes(line("a") + line("b"))
    Path("two.jsonl").write_bytes(line("b") + line("c"))
    run("import", "one.jsonl")
    assert run("import", "one.jsonl", "--json").json["stored"] == 0
    report = run("import", "two.jsonl", "--json").json
    assert (report["stored"], report["duplicates"]) == (1, 1)
    assert len(stored(Path("tracemill-data"))) == 3


def test_an_exported_store_imported_elsewhere_exports_the_same(run: Run) -> None:
    Path("f.jsonl").write_bytes(line("a\u2028", tools=[{"type": "function", "function": {"name": "f"}}]) + line("b"))
    run("import", "f.jsonl", "--data-dir", "one")
    run("export", "-o", "one.jsonl", "--data-dir", "one")
    report = run("import", "one.jsonl", "--data-dir", "two", "--json").json
    assert report["files"][0]["formats"] == {"traces": 2}
    run("export", "-o", "two.jsonl", "--data-dir", "two")
    assert Path("two.jsonl").read_bytes() == Path("one.jsonl").read_bytes()
    assert run("import", "two.jsonl", "--data-dir", "one", "--json").json["duplicates"] == 2


def test_lines_that_cannot_be_read_are_set_aside_and_the_rest_is_stored(run: Run) -> None:
    Path("f.jsonl").write_bytes(line("a") + b"{\n\n" + b'{"messages":"\xff"}\n' + line("b"))
    result = run("import", "f.jsonl", "--data-dir", "d", "--rejected", "bad.jsonl")
    assert result.code == 4
    assert "Set aside 2 in bad.jsonl: 1 not_json, 1 not_utf8. The first:\n  f.jsonl:2: not one JSON value" in result.out
    bad = [json.loads(each) for each in Path("bad.jsonl").read_bytes().splitlines()]
    assert [(each["source"], each["line"], each["reason"], each["text"]) for each in bad] == [
        ("f.jsonl", 2, "not_json", "{"),
        ("f.jsonl", 4, "not_utf8", '{"messages":"\ufffd"}'),
    ]
    assert len(stored(Path("d"))) == 2


def test_a_file_of_which_nothing_can_be_read_is_bad_input(run: Run) -> None:
    Path("f.jsonl").write_bytes(b"not\njson\n")
    result = run("import", "f.jsonl", "--json")
    assert (result.code, result.json["rejected"], result.json["stored"]) == (1, 2, 0)


def test_strict_stops_at_the_first_bad_line(run: Run) -> None:
    Path("f.jsonl").write_bytes(line("a") + b"{}\n" + line("b"))
    result = run("import", "f.jsonl", "--strict")
    assert result.code == 1
    assert "f.jsonl:2: there is no array `messages`" in result.err
    assert not Path("rejected.jsonl").exists()


def test_a_dry_run_reads_and_leaves_nothing_behind(run: Run) -> None:
    Path("f.jsonl").write_bytes(line("a"))
    report = run("import", "f.jsonl", "--dry-run", "--json").json
    assert (report["traces"], report["stored"], report["is_dry_run"]) == (1, None, True)
    assert [path.name for path in Path().iterdir()] == ["f.jsonl"]


def test_tags_are_given_to_every_trace_and_can_be_filtered_by(run: Run) -> None:
    Path("f.jsonl").write_bytes(line("a"))
    run("import", "f.jsonl", "--tag", "source=old=log", "--tag", "empty=")
    (trace,) = stored(Path("tracemill-data"))
    assert trace.tags == {"source": "old=log", "empty": ""}
    shown = run("traces", "list", "--where", 'tag.source = "old=log" and route = import', "--json").json
    assert [each["id"] for each in shown["data"]] == [str(trace.id)]
    assert run("import", "f.jsonl", "--tag", "nonsense").code == 2


def test_a_missing_file_is_told_before_any_other_is_read(run: Run) -> None:
    Path("f.jsonl").write_bytes(line("a"))
    result = run("import", "f.jsonl", "none.jsonl")
    assert result.code == 1
    assert (
        result.err
        == 'error: "none.jsonl" cannot be read: No such file or directory. Check the path and its permissions.\n'
    )
    assert not Path("tracemill-data").exists()


def test_a_rejected_file_that_cannot_be_written_is_told(run: Run) -> None:
    Path("f.jsonl").write_bytes(line("a") + b"{\n")
    result = run("import", "f.jsonl", "--rejected", "nowhere/bad.jsonl")
    assert result.code == 1
    assert '"nowhere/bad.jsonl" cannot be written' in result.err


def test_a_data_directory_that_is_a_file_is_told(run: Run) -> None:
    Path("f.jsonl").write_bytes(line("a"))
    result = run("import", "f.jsonl", "--data-dir", "f.jsonl")
    assert result.code == 1
    assert result.err.startswith("error: f.jsonl cannot be written")


def test_every_format_can_be_asked_for() -> None:
    assert [each.value for each in AskedFormat] == [AUTO, *(each.value for each in SourceFormat)]


def test_standard_input_is_read_plain_or_compressed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracemill.cli", "import", "-", "--data-dir", str(tmp_path / "d"), "--json"]
    plain = subprocess.run(command, input=line("a") + line("b"), capture_output=True, check=True, cwd=tmp_path)
    assert json.loads(plain.stdout)["files"][0]["source"] == "standard input"
    packed = gzip.compress(line("a") + line("c"))
    again = subprocess.run(command, input=packed, capture_output=True, check=True, cwd=tmp_path)
    assert (json.loads(again.stdout)["stored"], json.loads(again.stdout)["duplicates"]) == (1, 1)


def test_an_import_killed_at_any_moment_and_given_again_ends_with_the_same_store(tmp_path: Path, run: Run) -> None:
    data = b"".join(line(f"question {number} " + "x" * 8000, model=f"m{number % 3}") for number in range(1200))
    path = tmp_path / "f.jsonl"
    path.write_bytes(data)
    command = [sys.executable, "-m", "tracemill.cli", "import", str(path), "--data-dir", str(tmp_path / "d"), "--json"]
    moments = random.Random(7)
    killed = 0
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as victim:
            deadline = time.monotonic() + moments.uniform(0.3, 2.0)
            while victim.poll() is None and (
                time.monotonic() < deadline or not any(tmp_path.glob("d/journal/*/*.seg"))
            ):
                time.sleep(0.01)
            killed += victim.poll() is None
            victim.send_signal(signal.SIGKILL)
    assert killed
    report = run("import", path, "--data-dir", "d", "--json").json
    assert report["stored"] + report["duplicates"] == 1200
    run("import", path, "--data-dir", "whole")
    assert _contents(tmp_path / "d") == _contents(tmp_path / "whole")


def _contents(data_dir: Path) -> dict[str, bytes]:
    """Everything but the moment of the import."""
    return {str(trace.id): encode_traces([replace(trace, created_at=EPOCH)]) for trace in stored(data_dir)}


def _has_begun(data_dir: Path) -> bool:
    return any(data_dir.glob("journal/*/*.seg"))


MEMORY = """
import resource, sys
from tracemill.cli import main
sys.argv = ["tracemill", "import", sys.argv[1], "--data-dir", sys.argv[2], "--json"]
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def test_memory_stays_flat_however_large_the_file_is(tmp_path: Path) -> None:
    """Ten times the file: hardly more memory, though one of its lines alone is of 10 MB."""
    peaks: list[int] = []
    for count in (400, 4_000):
        path = tmp_path / f"{count}.jsonl"
        with path.open("wb") as file:
            file.write(line("x" * 10_000_000))
            for number in range(count):
                file.write(line(f"{number} " + "y" * 4000))
        child = subprocess.run(
            [sys.executable, "-c", MEMORY, str(path), str(tmp_path / f"d{count}")],
            capture_output=True, text=True, check=True, cwd=tmp_path,
        )  # fmt: skip
        assert json.loads(child.stdout)["stored"] == count + 1
        peaks.append(int(child.stderr.split()[-1]))
    assert peaks[1] < peaks[0] * 1.3 + 30_000
