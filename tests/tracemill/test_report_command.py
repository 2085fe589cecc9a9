"""`tracemill report`: one page a person can approve, in three forms."""

import json
from pathlib import Path

from tests.processing.teachers import Teachers
from tests.tracemill.test_process_commands import many, teachers, tracemill, upload

__all__ = ["teachers"]


def test_the_report_of_a_run_comes_in_three_forms(teachers: Teachers, tmp_path: Path) -> None:
    upload(tmp_path, many(8))
    assert tracemill(["process", "--data", "traces", "--out", "bank"], tmp_path, teachers).returncode == 0
    asked = len(teachers.requests)
    markdown = tracemill(["report", "bank"], tmp_path)
    assert markdown.stdout == (tmp_path / "bank" / "report.md").read_text()
    told = json.loads(tracemill(["report", "bank", "--json"], tmp_path).stdout)
    kept = json.loads((tmp_path / "bank" / "report.json").read_text())
    assert {**kept, "run_id": told["run_id"], "name": "bank"} == told
    done = tracemill(["report", "bank", "--format", "html", "-o", "page.html"], tmp_path)
    assert (done.returncode, done.stdout) == (0, "page.html\n")
    assert "<title>bank: dataset report" in (tmp_path / "page.html").read_text()
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600
    assert len(teachers.requests) == asked
    wrong = tracemill(["report", "bank", "--format", "pdf"], tmp_path)
    assert wrong.returncode == 2
    there = tracemill(["report", "bank", "-o", "no/such/folder.md"], tmp_path)
    assert (there.returncode, "cannot be written" in there.stderr) == (1, True)
    (tmp_path / "bank" / "report.json").unlink()
    gone = tracemill(["report", "bank"], tmp_path)
    assert (gone.returncode, "has no report" in gone.stderr) == (1, True)
