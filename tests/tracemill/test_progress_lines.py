import pytest

from processing.progress import LiveProgress, StageProgress
from tracemill.progress_lines import show_progress


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_tell_each_tenth_once_and_leave_stdout_to_results(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(clock=Clock()) as progress:
        for done in range(101):
            progress(StageProgress("relabel", done, 100, in_flight=2, paid=done, cached=1))
        progress(StageProgress("empty", 0, 0))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 12
    assert lines[1] == "relabel: 10/100 (10 paid, 1 cached, 2 in flight)"
    assert lines[-1] == "empty: 0/0 (0 paid, 0 cached)"


def test_pace_and_time_left_count_what_was_done_since_the_stage_began(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with show_progress(clock=clock) as progress:
        for done in range(50, 101, 10):
            progress(StageProgress("relabel", done, 100, paid=done - 50, cached=50, failed=1, cost=0.5))
            clock.now += 40.0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "relabel: 50/100 (0 paid, 50 cached, 1 failed, cost 0.5)"
    assert lines[1] == "relabel: 60/100 (10 paid, 50 cached, 1 failed, cost 0.5, 0.2/s, 2 min 40 s left)"
    assert lines[-1] == "relabel: 100/100 (50 paid, 50 cached, 1 failed, cost 0.5, 0.2/s)"


def test_a_slow_stage_is_told_of_between_its_tenths(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with show_progress(clock=clock) as progress:
        for _ in range(10):
            progress(StageProgress("judge", 0, 1000, in_flight=4))
            clock.now += 10.0
    assert capsys.readouterr().err.splitlines() == ["judge: 0/1000 (0 paid, 0 cached, 4 in flight)"] * 4


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(is_quiet=True) as progress:
        progress(StageProgress("relabel", 1, 1))
    assert capsys.readouterr() == ("", "")


def test_calls_are_told_as_they_come_and_go_while_a_stage_lasts() -> None:
    told: list[StageProgress] = []
    spent = [0.25]
    live = LiveProgress(told.append, lambda: spent[0])
    live.refresh()
    live(StageProgress("relabel", 0, 2))
    live.counts = StageProgress("", 0, 0, in_flight=3, paid=1, cached=2, failed=1)  # type: ignore[assignment]
    spent[0] = 0.5
    live.refresh()
    live(StageProgress("relabel", 2, 2))
    live.refresh()
    assert told == [
        StageProgress("relabel", 0, 2, cost=0.25),
        StageProgress("relabel", 0, 2, in_flight=3, paid=1, cached=2, failed=1, cost=0.5),
        StageProgress("relabel", 2, 2, cost=0.5),
    ]
