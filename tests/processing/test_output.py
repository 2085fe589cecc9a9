import hashlib
import json
from pathlib import Path

import pytest

from processing.errors import InputError, RunLockedError
from processing.output import MANIFEST, OutputFolder, is_running, lines


def test_the_manifest_comes_last_and_tells_size_lines_and_hash(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as folder:
        folder.publish({"a.jsonl": b"{}\n{}\n"}, {"made_by": "us"})
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    digest = hashlib.sha256(b"{}\n{}\n").hexdigest()
    assert manifest == {"made_by": "us", "files": {"a.jsonl": {"bytes": 6, "lines": 2, "sha256": digest}}}
    assert (tmp_path / "out" / "a.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_no_manifest_and_no_half_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with OutputFolder(out) as folder:
        folder.publish({"a.jsonl": b"old\n"}, {})
        (out / "b.jsonl").mkdir()
        with pytest.raises(OSError, match=r"b\.jsonl"):
            folder.publish({"a.jsonl": b"new\n", "b.jsonl": b"new\n"}, {})
    assert not (out / MANIFEST).exists()
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".tracemill")) == [
        "a.jsonl",
        "b.jsonl",
    ]


def test_a_folder_has_one_run_at_a_time_and_says_who(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with OutputFolder(tmp_path):
        assert is_running(tmp_path)
        with (
            pytest.raises(RunLockedError, match=r"process \d+ on .* is running into this folder"),
            OutputFolder(tmp_path),
        ):
            pass
    assert not is_running(tmp_path)
    with OutputFolder(tmp_path):
        assert is_running(tmp_path)


def test_line_separators_in_text_are_escaped() -> None:
    written = lines([{"a": "x\u2028y\u2029z\ud800"}])
    assert written == b'{"a":"x\\u2028y\\u2029z\\ud800"}\n'
    assert json.loads(written) == {"a": "x\u2028y\u2029z\ud800"}


def test_files_that_no_run_made_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("precious")
    for _ in range(2):
        with (
            pytest.raises(InputError, match=r"holds train\.jsonl, which no run made"),
            OutputFolder(tmp_path) as folder,
        ):
            folder.claim(["train.jsonl"], ["a"])
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]


def test_a_dataset_of_other_conversations_is_never_replaced(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as folder:
        folder.claim(["a.jsonl"], ["a", "b"])
        folder.publish({"a.jsonl": b""}, {"conversations": ["a", "b"]})
    with OutputFolder(tmp_path) as folder:
        folder.claim(["a.jsonl"], ["b", "c"])
        with pytest.raises(InputError, match="holds the dataset of other conversations"):
            folder.claim(["a.jsonl"], ["c", "d"])


def test_what_cannot_be_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(InputError, match="cannot be the output folder"), OutputFolder(path):
            pass
