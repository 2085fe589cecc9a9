"""The short form of every fault drill. The long ones are programs: `python -m tests.faults.kill_each_process`."""

from pathlib import Path
from types import ModuleType

import pytest

from tests.faults import (
    clock_step,
    dead_ingest,
    disk_full,
    journal_corruption,
    kill_each_process,
    killed_review,
    killed_runs,
    locked_database,
    read_only_disk,
    sigterm_drain,
    slow_and_vanishing_clients,
    upstream_chaos,
)
from tests.faults.drill import NotPossibleHereError, Report, run_drill


def hold(module: ModuleType, folder: Path, rounds: int) -> Report:
    try:
        report = run_drill(module.drill, folder, rounds)
    except NotPossibleHereError as error:
        pytest.skip(str(error))
    print(report.table())
    assert report.breaches == []
    return report


def test_every_answered_call_is_exported_once_whichever_process_is_killed(tmp_path: Path) -> None:
    hold(kill_each_process, tmp_path, 1)


def test_a_full_disk_fails_no_call_and_all_is_stored_when_there_is_room(tmp_path: Path) -> None:
    hold(disk_full, tmp_path, 1)


def test_where_no_small_disk_can_be_made_writes_fail_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drill for machines without root is run by those with root, too."""

    def not_here(*_: object) -> None:
        raise NotPossibleHereError("not asked for")

    monkeypatch.setattr(disk_full, "small_disk", not_here)
    assert hold(disk_full, tmp_path, 1).figures["kind"] == "no file may grow"


def test_a_worker_that_starts_on_a_read_only_disk_serves(tmp_path: Path) -> None:
    hold(read_only_disk, tmp_path, 1)


def test_a_locked_database_holds_up_nobody(tmp_path: Path) -> None:
    hold(locked_database, tmp_path, 3)


def test_an_ingest_that_stands_still_and_dies_is_waited_for_by_nobody(tmp_path: Path) -> None:
    hold(dead_ingest, tmp_path, 2)


def test_damage_inside_a_journal_costs_only_the_calls_it_touches(tmp_path: Path) -> None:
    hold(journal_corruption, tmp_path, 30)


def test_whatever_an_upstream_does_each_call_has_one_trace_and_only_whole_answers_are_whole(tmp_path: Path) -> None:
    hold(upstream_chaos, tmp_path, 1)


def test_clients_that_crawl_or_vanish_leave_nothing_behind_and_hold_up_nobody(tmp_path: Path) -> None:
    hold(slow_and_vanishing_clients, tmp_path, 1)


def test_a_stop_lets_calls_end_or_records_them_as_interrupted_and_loses_nothing(tmp_path: Path) -> None:
    hold(sigterm_drain, tmp_path, 1)


def test_a_clock_that_jumps_changes_timestamps_alone(tmp_path: Path) -> None:
    hold(clock_step, tmp_path, 1)


def test_a_killed_run_ends_with_the_same_bytes_and_buys_nothing_twice(tmp_path: Path) -> None:
    hold(killed_runs, tmp_path, 3)


def test_a_killed_review_leaves_each_decision_whole_and_takes_a_file_of_them_or_not(tmp_path: Path) -> None:
    hold(killed_review, tmp_path, 1)
