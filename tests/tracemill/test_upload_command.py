"""`tracemill datasets upload` as a person gives it."""

import json
from pathlib import Path
from subprocess import CompletedProcess

from tests.command_line import run_here


def tracemill(*arguments: object) -> CompletedProcess[str]:
    return run_here(arguments)


def test_a_file_is_uploaded_and_what_became_of_its_lines_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tickets.csv"
    rows = "".join(f"ticket number {n} about the {n}th thing,billing\n" for n in range(40))
    path.write_text(f"question,answer\n{rows}only one cell\n")
    found = tracemill("datasets", "upload", path, "--name", "tickets-v1", "--split", "--data-dir", tmp_path / "data")
    assert found.returncode == 4, found.stderr
    lines = found.stdout.splitlines()
    assert lines[:3] == ["tickets.csv is read as", "  prompt   <- question", "  response <- answer"]
    assert lines[3] == "tickets-v1: 41 records: 40 kept, 0 dropped, 1 failed"
    assert lines[4].startswith("  tickets.csv:42: failed, wrong_cells: the header has 2 cells and this record 1;")
    into = ("--name", "tickets", "--data-dir", tmp_path / "data")
    again = tracemill("datasets", "upload", path, *into, "--add", "--json")
    told = json.loads(again.stdout)
    assert (told["version"], told["dropped"], told["kept"]) == ("tickets-v1", 40, 0)
    shown = tracemill("datasets", "list", "--data-dir", tmp_path / "data")
    assert "tickets-v1" in shown.stdout


def test_columns_that_are_not_clear_end_with_what_to_write(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1, "b": 2}\n')
    found = tracemill("datasets", "upload", path, "--name", "x", "--data-dir", tmp_path / "data")
    assert found.returncode == 1
    assert "--map prompt=a,response=b" in found.stderr
    assert "Traceback" not in found.stderr


def test_names_of_columns_and_files_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31mb.jsonl"
    path.write_text('{"prompt": "p", "response": "r", "\\u001b]0;x\\u0007": 1, "\\ud800": 2, "a\\nb": 3}\n{}\n')
    found = tracemill("datasets", "upload", path, "--name", "x", "--data-dir", tmp_path / "data")
    assert (found.returncode, found.stderr) == (4, "")
    assert "<- \\ud800" in found.stdout
    assert "\x1b" not in found.stdout
    again = tracemill(
        "datasets", "upload", path, "--name", "x", "--map", "prompt=\x1b[2J", "--data-dir", tmp_path / "data"
    )
    assert again.returncode == 1
    assert "\x1b" not in again.stderr
    assert "\\u001b[2J" in again.stderr


def test_of_very_many_columns_only_the_first_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "wide.jsonl"
    path.write_text(json.dumps({"prompt": "p", "response": "r"} | {f"c{n}": n for n in range(1000)}))
    found = tracemill("datasets", "upload", path, "--name", "wide", "--data-dir", tmp_path / "data")
    assert found.returncode == 0, found.stderr
    assert "  … and 962 more" in found.stdout.splitlines()
