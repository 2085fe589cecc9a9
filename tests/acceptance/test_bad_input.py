"""Whatever is wrong is said plainly, with a sane exit code, and nothing is lost."""

import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.server import tracemill

UP = "http://127.0.0.1:9/v1"


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = tracemill("serve", "--upstream", UP, "--data-dir", tmp_path / "d", "--port", str(port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_key_in_the_file_is_named_with_the_nearest(tmp_path: Path) -> None:
    config = tmp_path / "tracemill.yaml"
    config.write_text(f"upstream: {UP}\nworkes: 2\n")
    done = tracemill("serve", "--config", config, "--data-dir", tmp_path / "d")
    assert done.returncode == 1
    assert "unknown key 'workes'; did you mean 'workers'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_upstream_is_said(tmp_path: Path) -> None:
    done = tracemill("serve", "--data-dir", tmp_path / "d")
    assert (done.returncode, "upstream is missing; give --upstream" in done.stderr) == (1, True)


def test_an_unknown_flag_is_a_usage_error() -> None:
    assert tracemill("serve", "--upstreem", UP).returncode == 2


def test_a_data_directory_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "d"
    data_dir.mkdir(mode=0o700)
    path = data_dir / "traces.db"
    made = tracemill("serve", "--upstream", "nonsense", "--data-dir", data_dir)
    assert made.returncode == 1
    from store.schema_version import TRACES

    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA application_id = {TRACES.application_id}")
        newer.execute("PRAGMA user_version = 9999")
        newer.execute("CREATE TABLE later(x)")
    before = path.read_bytes()
    for command in (["serve", "--upstream", UP], ["export", "-o", tmp_path / "o.jsonl"], ["traces", "list"]):
        done = tracemill(*command, "--data-dir", data_dir)
        assert done.returncode == 1, command
        assert "9999" in done.stderr
        assert "Traceback" not in done.stderr
    assert path.read_bytes() == before
    assert not (tmp_path / "o.jsonl").exists()


def test_a_foreign_file_in_the_databases_place_is_refused_and_left_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "d"
    data_dir.mkdir(mode=0o700)
    (data_dir / "traces.db").write_bytes(b"my diary" * 1000)
    done = tracemill("serve", "--upstream", UP, "--data-dir", data_dir)
    assert done.returncode == 1
    assert "traces.db" in done.stderr
    assert (data_dir / "traces.db").read_bytes() == b"my diary" * 1000


def test_a_data_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = tracemill("export", "--data-dir", tmp_path / "nowhere", "-o", tmp_path / "o.jsonl")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_broken_line_is_quarantined_with_its_number_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = {"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]}
    lines = [json.dumps(good), '{"messages": [', json.dumps({"messages": [{"role": "wizard", "content": "x"}]})]
    (tmp_path / "traces.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "job_description.json").write_text(json.dumps({"task_description": "Greet."}))
    (tmp_path / "config.yaml").write_text(
        "base:\n  task: question-answering\ntrace_processing:\n  relevance_filtering: false\n  relabel: false\n"
        "  evaluate_original_model: false\n  min_generated_examples: 1\n"
    )
    done = tracemill("process", "--data", tmp_path, "--out", tmp_path / "out", "--data-dir", tmp_path / "d")
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 4), done.stderr
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert [line["line"] for line in rejected] == [2, 3]
    assert "wizard" in json.dumps(rejected[1])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "rejected" in json.dumps(report)
