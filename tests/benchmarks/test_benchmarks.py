"""The benchmarks' own honesty: what is wrong must not look fast, and what grows must not look flat."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.native import Caller, compile_all, running_mock
from benchmarks.soak import Sample, growth

ROOT = Path(__file__).parents[2]
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    compile_all(folder)
    return folder


@needs_compiler
def test_every_answer_of_the_upstream_is_right_and_counted(folder: Path) -> None:
    with running_mock(folder) as mock:
        caller = Caller(folder, mock.port, "mock", reference=mock.reference())
        plain = caller.run("closed", connections=4, calls=100, seconds=10)
        mock.script(3, 5)
        stream = caller.run("streams", is_stream=True, connections=4, chunks=3, seconds=0.01)
        paced = caller.run("open", connections=4, rate=200, seconds=0.1)
        assert (plain.calls, plain.errors, plain.first_error) == (100, 0, "")
        assert (stream.calls, stream.chunks, stream.errors) == (4, 12, 0)
        assert (paced.calls, len(paced.latencies)) == (20, 20)
        assert mock.counts()["calls"] == 100 + 4 + 20 + 1  # the last one is the reference


@needs_compiler
@pytest.mark.parametrize(
    ("wanted", "chunks"), [(b'{"another":"body"}', 3), (None, 4)], ids=["other bytes", "a chunk too few"]
)
def test_an_answer_that_differs_is_an_error(folder: Path, wanted: bytes | None, chunks: int) -> None:
    with running_mock(folder) as mock:
        mock.script(3, 1)
        caller = Caller(folder, mock.port, "mock", reference=wanted)
        if wanted:
            load = caller.run("closed", connections=1, calls=5, seconds=10)
        else:
            load = caller.run("streams", is_stream=True, connections=5, chunks=chunks, seconds=0.001)
        assert load.errors == load.calls == 5


@needs_compiler
def test_a_chunks_way_is_measured_from_the_moment_it_left_the_upstream(folder: Path) -> None:
    with running_mock(folder) as mock:
        mock.script(5, 30)
        load = Caller(folder, mock.port, "mock").run("streams", is_stream=True, connections=2, chunks=5, seconds=0.01)
        assert load.delay["count"] == 10
        assert load.latency["p50"] > 4 * 30_000
        assert load.delay["p50"] < 30_000


@pytest.mark.parametrize(("per_call", "is_flat"), [(0, True), (60, True), (150, False)])
def test_memory_that_grows_with_the_calls_is_not_flat(per_call: int, *, is_flat: bool) -> None:
    samples = [
        Sample(calls, {"worker": 50_000_000 + calls * per_call + calls % 7 * 4096}, {"worker": 40})
        for calls in range(0, 100_000, 4_000)
    ]
    assert growth(samples)[0].is_good is is_flat


def test_descriptors_that_grow_with_the_calls_are_a_leak() -> None:
    samples = [Sample(calls, {"worker": 50_000_000}, {"worker": 40 + calls // 50}) for calls in range(0, 5_000, 200)]
    assert not growth(samples)[1].is_good


@needs_compiler
def test_one_command_compares_us_with_the_direct_call_and_names_what_is_missing(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [
        sys.executable, "-m", "benchmarks.proxy", "--rounds", "1", "--seconds", "0.3", "--streams", "0",
        "--targets", "direct,ours-on,litellm", "--litellm", "/nonexistent/bin/python", "--json", str(figures),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "litellm: not installed: python3 -m venv" in done.stdout
    assert "not measured: CPU a call, ours : nginx" in done.stdout
    direct, ours = json.loads(figures.read_text())["targets"]
    assert (direct["name"], ours["name"], ours["failure"]) == ("direct", "ours-on", "")
    roles = ours["plain"][0]["by_role"]
    assert min(roles["worker"], roles["ingest"]) > 0
    assert ours["plain"][0]["cpu_us"] == pytest.approx(sum(roles.values()))
