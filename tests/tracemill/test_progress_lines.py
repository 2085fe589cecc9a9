import pytest

from processing.progress import StageProgress
from tracemill.progress_lines import show_progress


def test_plain_lines_tell_each_tenth_once_and_leave_stdout_to_results(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as progress:
        for done in range(101):
            progress(StageProgress("relabel", done, 100, in_flight=2, paid=done, cached=1))
        progress(StageProgress("empty", 0, 0))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 12
    assert lines[1] == "relabel: 10/100 (10 paid, 1 cached, 2 in flight)"
    assert lines[-1] == "empty: 0/0 (0 paid, 0 cached)"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(is_quiet=True) as progress:
        progress(StageProgress("relabel", 1, 1))
    assert capsys.readouterr() == ("", "")
