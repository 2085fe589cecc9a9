"""Jobs as a person has them: filed over HTTP, run by `tracemill serve`, asked of scripted teachers."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from store.trace import Outcome, Reply, Trace
from store.traces import TraceWriter
from store.uuid7 import uuid7
from tests.processing.teachers import Fault, Teachers, serving
from tests.server import Server, tracemill
from tracemill import Client, ConflictError, InvalidRequestError, NotFoundError
from tracemill.client.errors import RefusedError

UPSTREAM = "http://127.0.0.1:9/v1"
DESCRIPTION = {"task_description": "You are a helpful assistant that keeps lists."}
KEY = "sk-canary-of-the-teachers"


def config(parallel: int = 4, **models: Any) -> dict[str, Any]:
    return {
        "base": {"task": "question-answering", "llm_num_parallel_requests": parallel},
        "trace_processing": {
            "min_generated_examples": 1,
            "num_traces_as_training_base": 10,
            "num_traces_as_testing_base": 10,
            "relabelling_committee_models": ["a", "b"],
            "num_traces_as_unfiltered_sample": 0,
        },
        "models": models,
    }


def trace(number: int) -> Trace:
    asked = {"role": "user", "content": f"Item {number * 7919} of my list, about {'xyz'[number % 3] * 9}?"}
    reply = {"role": "assistant", "content": f"Recorded {number}"}
    return Trace(
        id=UUID(int=number + 1),
        created_at=datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(minutes=number),
        method="POST",
        path="/v1/chat/completions",
        route="default",
        upstream=UPSTREAM,
        outcome=Outcome.COMPLETED,
        endpoint="chat.completions",
        requested_model="odd" if number % 2 else "even",
        messages=(json.dumps(asked).encode(),),
        replies=(Reply(0, json.dumps(reply).encode(), "stop"),),
    )


async def capture(data_dir: Path, count: int) -> None:
    async with await TraceWriter.open(data_dir / "traces.db") as writer:
        await writer.write([trace(number) for number in range(count)], [], [])


@pytest.fixture
def teachers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Teachers]:
    with serving() as found:
        monkeypatch.setenv("TRACEMILL_TEACHER_BASE_URL", found.base_url)
        monkeypatch.setenv("TRACEMILL_TEACHER_API_KEY", KEY)
        yield found


@pytest.fixture
async def data_dir(tmp_path: Path) -> Path:
    await capture(tmp_path / "data", 14)
    return tmp_path / "data"


def wait(what: Callable[[], Any], about: str, timeout_s: float = 40) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, about
        time.sleep(0.05)
    return found


def events(client: Client, id_: str, after: int | None = None) -> list[dict[str, Any]]:
    """Follow a job to its end."""
    return [json.loads(line) for line in client.job_events(id_, after=after)]


def statuses(found: list[dict[str, Any]]) -> list[str]:
    return [event["status"].removeprefix("JOB_") for event in found if event["type"] == "status"]


def process_of(server: Server, id_: str) -> int | None:
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"tracemill.job_process" in words and id_.encode() in words and str(server.data_dir).encode() in words:
            return int(entry.name)
    return None


def questions(teachers: Teachers) -> list[str]:
    return [json.dumps(body, sort_keys=True) for body in teachers.requests]


def test_a_job_is_filed_followed_and_its_dataset_taken(teachers: Teachers, data_dir: Path) -> None:
    with Server(UPSTREAM, data_dir) as server, Client(server.admin_url) as client:
        filed = client.file_job(config(), DESCRIPTION, where="model = 'even'", name="evens")
        assert (filed.status, filed.name, filed.filed_by, filed.is_wanted) == ("JOB_PENDING", "evens", "local", True)
        told = events(client, filed.id)
        assert statuses(told) == ["PENDING", "RUNNING", "SUCCESS"]
        stages = [event for event in told if event["type"] == "stage"]
        assert "relabel" in {event["stage"] for event in stages}
        assert all(event["done"] <= event["total"] for event in stages)
        assert [event["id"] for event in told] == sorted({event["id"] for event in told})
        assert events(client, filed.id, after=told[2]["id"]) == told[3:]

        job = client.job(filed.id)
        assert (job.status, job.error) == ("JOB_SUCCESS", None)
        assert job.calls == len(teachers.requests) > 0
        assert job.ended_at is not None
        report = client.job_report(filed.id)
        assert report["intake"]["conversations"] == 7  # type: ignore[index]
        assert client.job_report_page(filed.id).startswith("# ")
        page = urllib.request.urlopen(f"{server.admin_url}/admin/api/jobs/{filed.id}/report?format=html", timeout=20)
        assert "style-src" in page.headers["content-security-policy"]
        assert page.read().startswith(b"<!doctype html>")
        asked = urllib.request.Request(
            f"{server.admin_url}/admin/api/jobs/{filed.id}/report", headers={"Accept": "text/markdown, */*"}
        )
        with urllib.request.urlopen(asked, timeout=20) as answer:
            assert answer.headers["content-type"].startswith("text/markdown")
        assert 'tracemill_jobs{job_status="JOB_SUCCESS",kind="process"} 1.0' in client.metrics()
        rows = [json.loads(line) for part in ("train", "test") for line in client.job_rows(filed.id, part=part)]  # type: ignore[arg-type]
        assert len(rows) == sum(told[-1]["rows"][name] for name in ("train.jsonl", "test.jsonl")) == 7
        assert len(list(client.job_predictions(filed.id))) == told[-1]["rows"]["test.jsonl"]
        assert [one.id for one in client.jobs()] == [filed.id]
        exports = wait(lambda: list(client.changes("export")), "the audit log")
        assert {change.result["job"] for change in exports} <= {filed.id}
        assert set(teachers.authorizations) == {f"Bearer {KEY}"}
    kept = [path for path in data_dir.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in kept)
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)
    backup = data_dir.with_name("backup")
    assert tracemill("backup", "--data-dir", data_dir, backup).returncode == 0
    with Server(UPSTREAM, backup) as server, Client(server.admin_url) as client:
        assert [json.loads(line) for line in client.job_rows(filed.id)] == rows[: told[-1]["rows"]["train.jsonl"]]
        assert events(client, filed.id) == told


def test_events_come_as_server_sent_events_while_they_happen_and_are_taken_up_again(
    teachers: Teachers, data_dir: Path
) -> None:
    teachers.hold_from = 1
    with Server(UPSTREAM, data_dir) as server, Client(server.admin_url) as client:
        id_ = client.file_job(config(), DESCRIPTION).id
        url = f"{server.admin_url}/admin/api/jobs/{id_}/events"
        asked = urllib.request.Request(url, headers={"Accept": "text/event-stream"})
        with urllib.request.urlopen(asked, timeout=20) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            first = [answer.readline() for _ in range(8)]
        assert first[1] == b"event: status\n"
        told = [json.loads(line.removeprefix(b"data: ")) for line in first if line.startswith(b"data: ")]
        assert statuses(told) == ["PENDING", "RUNNING"]
        last_id = first[4].removeprefix(b"id: ").strip().decode()
        client.cancel_job(id_)
        fields = {"Accept": "text/event-stream", "Last-Event-ID": last_id}
        with urllib.request.urlopen(urllib.request.Request(url, headers=fields), timeout=20) as answer:
            lines = answer.read().splitlines()
        rest = [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]
        assert statuses(rest) == ["STOPPED"]
        with pytest.raises(InvalidRequestError) as refused:
            list(client.job_events(id_, after=told[0]["id"] + 1))
        assert refused.value.param == "after"


def test_a_killed_job_goes_on_by_itself_and_pays_for_nothing_twice(teachers: Teachers, data_dir: Path) -> None:
    with Server(UPSTREAM, data_dir) as server, Client(server.admin_url) as client:
        teachers.hold_from = 8
        id_ = client.file_job(config(parallel=1), DESCRIPTION).id
        assert teachers.held.wait(30)
        answered = questions(teachers)[:7]
        pid = wait(lambda: process_of(server, id_), "no process")
        teachers.hold_from = None
        os.kill(pid, signal.SIGKILL)
        told = events(client, id_)
        assert statuses(told) == ["PENDING", "RUNNING", "PENDING", "RUNNING", "SUCCESS"]
        assert "-9" in next(event["error"] for event in told if event.get("error"))
        asked = questions(teachers)
        assert not set(answered) & set(asked[8:])
        assert client.job(id_).calls == len(set(asked))


def test_a_cancelled_job_stops_and_goes_on_when_it_is_resumed(teachers: Teachers, data_dir: Path) -> None:
    with Server(UPSTREAM, data_dir) as server, Client(server.admin_url) as client:
        teachers.hold_from = 6
        id_ = client.file_job(config(parallel=1), DESCRIPTION).id
        assert teachers.held.wait(30)
        client.cancel_job(id_)
        told = events(client, id_)
        assert statuses(told) == ["PENDING", "RUNNING", "STOPPED"]
        job = client.job(id_)
        assert (job.status, job.error, job.is_wanted, job.calls) == ("JOB_STOPPED", "cancelled", False, 5)
        assert client.cancel_job(id_) == job
        with pytest.raises(NotFoundError, match="JOB_STOPPED"):
            client.job_report(id_)
        teachers.hold_from = None
        assert client.resume_job(id_).status == "JOB_PENDING"
        assert statuses(events(client, id_, after=told[-1]["id"])) == ["PENDING", "RUNNING", "SUCCESS"]
        asked = questions(teachers)
        assert not set(asked[:5]) & set(asked[6:])
        with pytest.raises(ConflictError):
            client.resume_job(id_)


def test_a_job_of_a_stopped_server_goes_on_with_the_next_one(teachers: Teachers, data_dir: Path) -> None:
    teachers.hold_from = 6
    with Server(UPSTREAM, data_dir) as server, Client(server.admin_url) as client:
        running, waiting = (client.file_job(config(parallel=1), DESCRIPTION).id for _ in range(2))
        assert teachers.held.wait(30)
        assert server.stop() == 0
        assert process_of(server, running) is None
    answered = questions(teachers)[:5]
    teachers.hold_from = None
    asked_before = len(teachers.requests)
    with Server(UPSTREAM, data_dir) as server, Client(server.admin_url) as client:
        told = [events(client, id_) for id_ in (running, waiting)]
        assert statuses(told[0]) == ["PENDING", "RUNNING", "STOPPED", "RUNNING", "SUCCESS"]
        assert statuses(told[1]) == ["PENDING", "RUNNING", "SUCCESS"]
        assert not set(answered) & set(questions(teachers)[asked_before:])
        assert client.job(waiting).calls == 0


def test_a_killed_server_leaves_no_job_running_and_the_next_one_goes_on(teachers: Teachers, data_dir: Path) -> None:
    teachers.hold_from = 6
    with Server(UPSTREAM, data_dir) as server, Client(server.admin_url) as client:
        id_ = client.file_job(config(), DESCRIPTION).id
        assert teachers.held.wait(30)
        server.kill_supervisor()
        wait(lambda: process_of(server, id_) is None, "the job outlives its server")
    teachers.hold_from = None
    with Server(UPSTREAM, data_dir) as server, Client(server.admin_url) as client:
        assert statuses(events(client, id_))[-1] == "SUCCESS"


def test_two_jobs_at_once_make_what_each_makes_alone(teachers: Teachers, data_dir: Path) -> None:
    def committee(name: str) -> dict[str, Any]:
        made = config()
        made["trace_processing"]["relabelling_committee_models"] = [f"{name}-a", f"{name}-b"]
        return made

    def row_ids(client: Client, id_: str) -> list[str]:
        return [json.loads(line)["metadata"]["source_trace_id"] for line in client.job_rows(id_)]

    held = {"odd-a", "even-a"}

    def wait_for_the_other(_number: int, body: dict[str, Any]) -> None:
        held.discard(body["model"])
        if body["model"].endswith("-a") and held:
            raise Fault(429, "", {"Retry-After": "1"})

    teachers.fault = wait_for_the_other
    with Server(UPSTREAM, data_dir, "--max-jobs", "2") as server, Client(server.admin_url) as client:
        ids = [client.file_job(committee(name), DESCRIPTION, where=f"model = {name}").id for name in ("odd", "even")]
        assert [statuses(events(client, id_)) for id_ in ids] == [["PENDING", "RUNNING", "SUCCESS"]] * 2
        rows = [row_ids(client, id_) for id_ in ids]
    assert all(rows)
    assert [{UUID(id_).int % 2 for id_ in each} for each in rows] == [{0}, {1}]


def test_a_job_buys_no_more_than_it_may_however_often_it_is_started(teachers: Teachers, data_dir: Path) -> None:
    with Server(UPSTREAM, data_dir) as server, Client(server.admin_url) as client:
        alone = config(parallel=1)
        alone["trace_processing"]["relabelling_committee_models"] = ["a"]
        id_ = client.file_job(alone, DESCRIPTION, max_calls=5).id
        told = events(client, id_)
        assert statuses(told) == ["PENDING", "RUNNING", "STOPPED"]
        job = client.job(id_)
        assert "budget of 5 calls" in (job.error or "")
        assert (job.is_wanted, job.calls, len(teachers.requests)) == (False, 5, 5), told
        client.resume_job(id_)
        assert statuses(events(client, id_, after=told[-1]["id"])) == ["PENDING", "RUNNING", "STOPPED"]
        assert len(teachers.requests) == 5
        after = events(client, id_)[-1]["id"]
        assert client.resume_job(id_, max_calls=1000).max_calls == 1000
        assert statuses(events(client, id_, after=after))[-1] == "SUCCESS"


@pytest.mark.usefixtures("teachers")
def test_a_job_that_fails_says_why_and_can_be_resumed(data_dir: Path) -> None:
    with Server(UPSTREAM, data_dir) as server, Client(server.admin_url) as client:
        wanted = config()
        wanted["trace_processing"]["min_generated_examples"] = 500
        id_ = client.file_job(wanted, DESCRIPTION).id
        told = events(client, id_)
        assert statuses(told) == ["PENDING", "RUNNING", "FAILURE"]
        assert client.job(id_).error == told[-1]["error"]
        assert "500" in told[-1]["error"]
        assert client.resume_job(id_).status == "JOB_PENDING"


def test_the_same_id_is_filed_once(teachers: Teachers, data_dir: Path) -> None:
    del teachers
    with Server(UPSTREAM, data_dir, "--max-jobs", "0") as server, Client(server.admin_url) as client:
        id_ = str(uuid7())
        first = client.file_job(config(), DESCRIPTION, id=id_)
        assert client.file_job(config(), DESCRIPTION, id=id_) == first
        assert first.id == id_
        with pytest.raises(ConflictError):
            client.file_job(config(), DESCRIPTION, id=id_, name="another")
        assert client.cancel_job(id_).status == "JOB_STOPPED"
        assert statuses(events(client, id_)) == ["PENDING", "STOPPED"]
        assert [job.id for job in client.jobs()] == [id_]


def test_what_cannot_run_is_refused_before_it_is_filed(
    teachers: Teachers, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request names servers and keys of the settings alone: else it could reach any address, with any secret."""
    monkeypatch.setenv("OTHER_KEY", "sk-of-another")
    monkeypatch.setenv("LISTED_KEY", "sk-of-the-listed")
    listed = tmp_path / "tracemill.yaml"
    listed.write_text(
        json.dumps({"job_teachers": [{"base_url": "http://127.0.0.1:7/v1", "api_key_env": "LISTED_KEY"}]})
    )
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"config": {"base": {"task": "no-such"}}}, "config", "base.task"),
        ({"config": {**config(), "bse": {}}}, "config", "bse"),
        ({"job_description": {"task": "x"}}, "job_description", "unknown fields task"),
        ({"test": [{"no": "question"}]}, "test", "test.jsonl"),
        ({"where": "modle = x"}, "where", "did you mean"),
        ({"config": config(a={"base_url": "http://169.254.169.254/v1"})}, "config", "job_teachers"),
        ({"config": config(a={"base_url": "http://u:sk-canary@127.0.0.1:7/v1"})}, "config", "job_teachers"),
        ({"config": config(a={"api_key_env": "OTHER_KEY"})}, "config", "another variable"),
        ({"config": config(a={"base_url": "http://127.0.0.1:7/v1", "api_key_env": "OTHER_KEY"})}, "config", "another"),
        ({"max_cost": 1.0}, "config", "price"),
        ({"id": "7"}, "id", "UUIDv7"),
        ({"config": {"base": {"random_seed": 10**400}}}, "config", "base"),
    ]
    flags = ("--config", str(listed), "--max-jobs", "0")
    with Server(UPSTREAM, data_dir, *flags) as server, Client(server.admin_url) as client:
        for change, param, says in wrong:
            with pytest.raises(InvalidRequestError) as refused:
                client.file_job(**{"config": config(), "job_description": DESCRIPTION, **change})
            assert refused.value.param == param, change
            assert says in refused.value.message, refused.value.message
            assert "sk-canary" not in refused.value.message
        with pytest.raises(InvalidRequestError):
            client.file_job({"base": {"random_seed": float("inf")}}, DESCRIPTION)
        assert list(client.jobs()) == []
        assert not list((data_dir / "jobs").iterdir())
        filed = client.file_job(config(a={"base_url": "http://127.0.0.1:7/v1/"}), DESCRIPTION)
        assert filed.status == "JOB_PENDING"
    assert teachers.requests == []


def test_a_server_that_records_nothing_runs_no_jobs(tmp_path: Path) -> None:
    with Server(UPSTREAM, tmp_path / "data", "--no-capture") as server, Client(server.admin_url) as client:
        with pytest.raises(RefusedError) as refused:
            client.file_job(config(), DESCRIPTION)
        assert (refused.value.status, refused.value.code) == (503, "store_unavailable")
    assert not (tmp_path / "data").exists()


def test_the_judge_of_a_job_is_held_against_people(teachers: Teachers, data_dir: Path) -> None:
    """The judged answers come with the request; `config` cannot name a file of the server."""
    del teachers
    judged = [
        {"prompt": f"Question {number}?", "reference": "Yes", "answer": "Yes" if number else "No", "label": label}
        for number, label in enumerate(["bad", "good", "good"])
    ]
    with Server(UPSTREAM, data_dir) as server, Client(server.admin_url) as client:
        named = {**config(), "evaluation": {"calibration": "judged.jsonl"}}
        with pytest.raises(InvalidRequestError) as refused:
            client.file_job(named, DESCRIPTION)
        assert refused.value.param == "calibration"
        with pytest.raises(InvalidRequestError) as refused:
            client.file_job(named, DESCRIPTION, calibration=[{"prompt": "?"}])
        assert refused.value.param == "calibration"
        id_ = client.file_job(named, DESCRIPTION, calibration=judged).id
        assert statuses(events(client, id_))[-1] == "SUCCESS"
        assert client.job_report(id_)["judge_calibration"]["rows"] == 3  # type: ignore[index]


def test_a_job_that_has_ended_is_deleted_and_one_that_goes_on_is_not(teachers: Teachers, data_dir: Path) -> None:
    with Server(UPSTREAM, data_dir) as server, Client(server.admin_url) as client:
        teachers.hold_from = 1
        id_ = client.file_job(config(), DESCRIPTION).id
        assert teachers.held.wait(30)
        with pytest.raises(ConflictError, match="cancel it first"):
            client.delete_job(id_)
        client.cancel_job(id_)
        assert statuses(events(client, id_))[-1] == "STOPPED"
        following = client.job_events(id_)
        assert next(following)
        assert client.delete_job(id_).status == "JOB_STOPPED"
        assert len(list(following)) <= 3  # what was told before; it does not wait for more
        assert list(client.jobs()) == []
        assert not list((data_dir / "jobs").iterdir())
        with pytest.raises(NotFoundError):
            client.delete_job(id_)
        (change,) = wait(lambda: list(client.changes("job")), "the audit log")
        assert (change.result["job"], change.asked_by) == (id_, "local")
        teachers.hold_from = None
        again = client.file_job(config(), DESCRIPTION).id
        assert statuses(events(client, again))[-1] == "SUCCESS"
        assert tracemill("jobs", "delete", again, "--data-dir", data_dir).stdout == f"{again}: deleted\n"
        assert not list((data_dir / "jobs").iterdir())
