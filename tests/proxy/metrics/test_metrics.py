"""Counting in each process, telling it, adding it up."""

import itertools
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.metrics import metrics_text
from proxy.metrics import catalog, folder
from proxy.metrics.catalog import DROP_REASONS, METRICS, OTHER, Kind
from proxy.metrics.counts import Counts
from proxy.metrics.folder import bury, made_folder, read_totals, remove_abandoned, tell
from proxy.metrics.ingest_metrics import IngestMetrics
from proxy.metrics.supervisor_metrics import SupervisorMetrics
from proxy.metrics.teller import Teller
from proxy.metrics.worker_metrics import WorkerMetrics
from store.trace import DeadLetter, Outcome


class WaitingJournal:
    """A journal that waits for a disk."""

    pending_bytes, lag_s, is_stuck, entries_written, batches_written, sync_failures = 70, 1.5, True, 9, 4, 2


def shown(path: Path | None) -> dict[str, float]:
    text = metrics_text(path, traces=0, dead_letters=0, journal_bytes=0).decode()
    return {key: float(value) for key, value in re.findall(r"^([^#\s].*) (\S+)$", text, re.MULTILINE)}


def end_call(metrics: WorkerMetrics, duration_s: float = 0.02, **more: Any) -> None:
    told: dict[str, Any] = {"route": "default", "status": 200, "outcome": Outcome.COMPLETED, "ttft_s": None, **more}
    metrics.call_ended(duration_s=duration_s, **told)


def put(path: Path, pid: int, counts: Counts, process: str = "worker") -> None:
    counts.process, counts.told_at = process, time.time()
    tell(path / f"{process}-{pid}-00.json", counts)


def test_everything_that_a_worker_counts_is_shown_under_its_name(tmp_path: Path) -> None:
    metrics = WorkerMetrics()
    metrics.watch(journal=WaitingJournal(), client_connections=lambda: 3, upstream_connections=lambda: (3, 2))
    for _ in range(4):
        metrics.call_arrived()
        metrics.streams(1)
    metrics.call_left()
    metrics.streams(-1)
    end_call(metrics, ttft_s=0.011)
    metrics.added(route="default", seconds=0.0004)
    end_call(metrics, status=None, outcome=Outcome.UPSTREAM_UNREACHABLE)
    metrics.dropped("journal_backlog", 5)
    metrics.refused(400)
    put(tmp_path, 1, metrics.counts())
    values = shown(tmp_path)
    expected = {
        'tracemill_calls_total{outcome="completed",route="default",status="200"}': 1,
        'tracemill_calls_total{outcome="upstream_unreachable",route="default",status="none"}': 1,
        'tracemill_call_duration_seconds_count{route="default"}': 2,
        'tracemill_call_duration_seconds_sum{route="default"}': 0.04,
        'tracemill_call_duration_seconds_bucket{le="0.01",route="default"}': 0,
        'tracemill_call_duration_seconds_bucket{le="0.025",route="default"}': 2,
        'tracemill_time_to_first_block_seconds_count{route="default"}': 1,
        'tracemill_added_seconds_bucket{le="0.0003",route="default"}': 0,
        'tracemill_added_seconds_bucket{le="0.0005",route="default"}': 1,
        'tracemill_added_seconds_bucket{le="+Inf",route="default"}': 1,
        "tracemill_calls_in_flight": 3,
        "tracemill_open_streams": 3,
        "tracemill_client_connections": 3,
        'tracemill_refused_total{status="400"}': 1,
        'tracemill_upstream_connections{state="busy"}': 3,
        'tracemill_upstream_connections{state="idle"}': 2,
        'tracemill_capture_dropped_total{reason="journal_backlog"}': 5,
        'tracemill_capture_dropped_total{reason="sampled"}': 0,
        'tracemill_capture_dropped_total{reason="capture_off"}': 0,
        "tracemill_journal_pending_bytes": 70,
        "tracemill_journal_lag_seconds": 1.5,
        "tracemill_journal_stuck": 1,
        "tracemill_journal_entries_total": 9,
        "tracemill_journal_writes_total": 4,
        "tracemill_journal_sync_failures_total": 2,
    }
    assert {key: values.get(key) for key in expected} == pytest.approx(expected)


def test_a_value_on_a_bound_belongs_to_the_bucket_of_that_bound(tmp_path: Path) -> None:
    metrics = WorkerMetrics()
    end_call(metrics, 0.025)
    put(tmp_path, 1, metrics.counts())
    assert shown(tmp_path)['tracemill_call_duration_seconds_bucket{le="0.025",route="default"}'] == 1


def test_a_reason_that_is_not_on_the_list_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        WorkerMetrics().dropped("bad luck")


def test_counting_a_call_takes_no_noticeable_time() -> None:
    """Measured 1 µs; a whole call has 60. The bound leaves room for a busy machine."""
    metrics = WorkerMetrics()
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(2000):
            metrics.call_arrived()
            end_call(metrics, ttft_s=0.01)
            metrics.added(route="default", seconds=0.0003)
            metrics.call_left()
        best = min(best, (time.perf_counter() - began) / 2000)
    assert best < 10e-6


def test_processes_add_up_and_the_worst_lag_is_told(tmp_path: Path) -> None:
    for pid in (1, 2):
        metrics = WorkerMetrics()
        metrics.watch(journal=WaitingJournal())
        metrics.call_arrived()
        end_call(metrics)
        put(tmp_path, pid, metrics.counts())
    values = shown(tmp_path)
    assert values["tracemill_calls_in_flight"] == 2
    assert values['tracemill_calls_total{outcome="completed",route="default",status="200"}'] == 2
    assert values["tracemill_journal_lag_seconds"] == 1.5


def test_what_a_dead_process_counted_stays_and_what_it_held_does_not(tmp_path: Path) -> None:
    for pid in (1, 2, 22):
        metrics = WorkerMetrics()
        metrics.call_arrived()
        end_call(metrics)
        put(tmp_path, pid, metrics.counts())
    bury(tmp_path, 2)
    bury(tmp_path, 2)
    totals = read_totals(tmp_path).counts
    assert totals.gauges["tracemill_calls_in_flight"] == {(): 2}
    assert sum(totals.counters["tracemill_calls"].values()) == 3
    assert sum(totals.histograms["tracemill_call_duration_seconds"][("default",)].counts) == 3
    assert len(list(tmp_path.iterdir())) == 3


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30))
def test_no_death_changes_a_sum(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool]]) -> None:
    """Processes count and die in any order; a process that takes a dead one's place may get its number."""
    path = tmp_path_factory.mktemp("metrics")
    living: dict[int, WorkerMetrics] = {}
    names = itertools.count()
    files: dict[int, Path] = {}
    ended = 0
    for pid, is_death in steps:
        if is_death:
            bury(path, pid)
            living.pop(pid, None)
            continue
        if pid not in living:
            living[pid], files[pid] = WorkerMetrics(), path / f"worker-{pid}-{next(names)}.json"
        end_call(living[pid], 0.5 * pid)
        ended += 1
        tell(files[pid], living[pid].counts())
        totals = read_totals(path).counts
        assert sum(totals.counters["tracemill_calls"].values()) == ended
        assert sum(totals.histograms["tracemill_call_duration_seconds"][("default",)].counts) == ended


def test_a_scrape_in_the_middle_of_a_burial_counts_everybody_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter that falls looks like a restart, and the next rate is wrong by all it ever counted."""
    for pid in (1, 2):
        metrics = WorkerMetrics()
        end_call(metrics)
        put(tmp_path, pid, metrics.counts())
    found = []
    read, unlink = folder._read, Path.unlink

    def look(path: Path) -> None:
        monkeypatch.undo()
        found.append(sum(read_totals(tmp_path).counts.counters["tracemill_calls"].values()))
        unlink(path)

    monkeypatch.setattr(Path, "unlink", look)
    bury(tmp_path, 1)

    def read_and_bury(path: Path) -> Counts | None:
        counts = read(path)
        monkeypatch.undo()
        bury(tmp_path, 2)
        return counts

    monkeypatch.setattr(folder, "_read", read_and_bury)
    found.append(sum(read_totals(tmp_path).counts.counters["tracemill_calls"].values()))
    assert found == [2, 2]


def test_a_snapshot_that_is_just_being_written_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = WorkerMetrics()
    end_call(metrics)
    put(tmp_path, 1, metrics.counts())
    found = []

    def look(self: Path, target: Path) -> Path:
        monkeypatch.undo()
        found.append(sum(read_totals(tmp_path).counts.counters["tracemill_calls"].values()))
        return self.replace(target)

    end_call(metrics)
    monkeypatch.setattr(Path, "replace", look)
    put(tmp_path, 1, metrics.counts())
    assert found == [1]


def test_a_file_that_is_no_snapshot_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics = WorkerMetrics()
    end_call(metrics)
    put(tmp_path, 1, metrics.counts())
    (tmp_path / "worker-2-00.json").write_bytes(b'{"process":')
    (tmp_path / "worker-3-00.json").write_bytes(b"[1]")
    assert sum(read_totals(tmp_path).counts.counters["tracemill_calls"].values()) == 1
    assert caplog.text.count("cannot be read") == 2


def told(path: Path) -> list[Counts]:
    return [Counts.from_json(file.read_bytes()) for file in path.glob("*.json")]


def wait_for(condition: Any, timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_tells_what_changed_within_a_moment_and_the_rest_at_its_end(tmp_path: Path) -> None:
    metrics = SupervisorMetrics()
    metrics.watched("worker 1")
    teller = Teller(tmp_path, "supervisor", metrics.counts)
    wait_for(lambda: told(tmp_path))
    first = told(tmp_path)[0]
    assert first.counters["tracemill_process_restarts"] == {("worker-1",): 0}
    metrics.restarted("worker 1")
    wait_for(lambda: told(tmp_path)[0].counters["tracemill_process_restarts"] == {("worker-1",): 1}, 2)
    metrics.restarted("worker 1")
    teller.close()
    teller.close()
    last = told(tmp_path)[0]
    assert last.counters["tracemill_process_restarts"] == {("worker-1",): 2}
    assert last.told_at > first.told_at
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]


def test_a_folder_that_cannot_be_written_is_said_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "gone"
    metrics = SupervisorMetrics()
    teller = Teller(place, "supervisor", metrics.counts)
    wait_for(lambda: "cannot be told" in caplog.text)
    place.mkdir()
    wait_for(lambda: told(place))
    teller.close()
    assert caplog.text.count("cannot be told") == 1


def test_the_folder_of_a_killed_supervisor_is_given_back(tmp_path: Path) -> None:
    abandoned, young, foreign = (tmp_path / f"{name}" for name in ("tracemill-metrics-1", "tracemill-metrics-2", "x"))
    for path in (abandoned, young, foreign):
        path.mkdir()
        (path / "worker-1-00.json").write_bytes(b"{}")
        os.utime(path, (0, 0))
    os.utime(young)
    with made_folder() as alive:
        os.utime(alive, (0, 0))
        held = tmp_path / "tracemill-metrics-3"
        held.symlink_to(alive)
        remove_abandoned(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["tracemill-metrics-2", "tracemill-metrics-3", "x"]
        assert alive.is_dir()
        assert alive.stat().st_mode & 0o777 == 0o700
    assert not alive.exists()


def test_how_old_a_snapshot_is_can_be_seen(tmp_path: Path) -> None:
    counts = WorkerMetrics().counts()
    put(tmp_path, 1, counts)
    counts.told_at -= 60
    tell(tmp_path / "worker-2-00.json", counts)
    assert shown(tmp_path)['tracemill_snapshot_age_seconds{process="worker"}'] == pytest.approx(60, abs=5)


def test_ingest_tells_batches_letters_gaps_and_how_late_it_is(tmp_path: Path) -> None:
    now = 1000.0
    metrics = IngestMetrics(clock=lambda: now)
    metrics.batch_read(990.0)
    metrics.failed()
    metrics.batch_read(995.0)
    metrics.behind(4096)
    put(tmp_path, 1, metrics.counts(), "ingest")
    values = shown(tmp_path)
    assert (values["tracemill_ingest_lag_seconds"], values["tracemill_ingest_behind_bytes"]) == (10, 4096)
    metrics.traces_stored(2)
    metrics.forgotten(2)
    metrics.batch_stored(calls=3, seconds=0.004)
    metrics.batch_stored(calls=0, seconds=0.1)
    metrics.letter_stored(DeadLetter("torn", "", b""))
    metrics.letter_stored(DeadLetter("gap", "", b'{"reason":"journal_backlog","count":7}'))
    metrics.letter_stored(DeadLetter("gap", "", b'{"reason":"of a later version","count":2}'))
    put(tmp_path, 1, metrics.counts(), "ingest")
    values = shown(tmp_path)
    expected = {
        "tracemill_ingest_lag_seconds": 0,
        "tracemill_ingest_traces_total": 2,
        "tracemill_ingest_forgotten_total": 2,
        "tracemill_ingest_failures_total": 1,
        'tracemill_ingest_batch_calls_bucket{le="2.0"}': 0,
        'tracemill_ingest_batch_calls_bucket{le="5.0"}': 1,
        "tracemill_ingest_batch_calls_count": 1,
        "tracemill_ingest_batch_seconds_sum": 0.004,
        'tracemill_ingest_dead_letters_total{reason="torn"}': 1,
        'tracemill_ingest_dead_letters_total{reason="gap"}': 2,
        'tracemill_ingest_dead_letters_total{reason="orphan"}': 0,
        'tracemill_ingest_declared_missing_total{reason="journal_backlog"}': 7,
        f'tracemill_ingest_declared_missing_total{{reason="{OTHER}"}}': 2,
    }
    assert {key: values.get(key) for key in expected} == expected


def test_the_catalogue_keeps_the_rules_of_prometheus() -> None:
    for metric in METRICS.values():
        assert re.fullmatch(r"tracemill(_[a-z]+)+", metric.name)
        assert not metric.name.endswith("_total")
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert set(metric.labels) <= set(catalog.LABEL_VALUES)
        assert metric.meaning.endswith(".")
    declared = [value for value in vars(catalog).values() if isinstance(value, catalog.Metric)]
    assert {metric.name for metric in declared} == set(METRICS)
    assert len(declared) == len(METRICS)


def test_every_metric_is_named_before_anything_was_counted() -> None:
    text = metrics_text(None, traces=0, dead_letters=0, journal_bytes=0).decode()
    assert set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) == {metric.shown_name for metric in METRICS.values()}
    assert "tracemill_build_info{" in text
    assert DROP_REASONS


def test_prometheus_reads_what_was_counted_whatever_a_route_is_called(tmp_path: Path) -> None:
    routes = ['quoted "name"', "back\\slash", "two\nlines", "ünïcode {}=,"]
    metrics = WorkerMetrics()
    for number, route in enumerate(routes):
        end_call(metrics, duration_s=10.0**number, route=route)
    put(tmp_path, 1, metrics.counts())
    text = metrics_text(tmp_path, traces=2**60, dead_letters=0, journal_bytes=0).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {(family.name, family.type) for family in families.values()} == {
        (metric.name, metric.kind.value) for metric in METRICS.values()
    }
    ended = families[catalog.CALL_DURATION.name].samples
    assert {each.labels["route"]: each.value for each in ended if each.name.endswith("_sum")} == {
        route: 10.0**number for number, route in enumerate(routes)
    }
    assert {each.value for each in ended if each.labels.get("le") == "+Inf"} == {1}
    assert families[catalog.TRACES.name].samples[0].value == 2**60
