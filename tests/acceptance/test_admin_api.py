"""The admin API as its own description tells it, held against the running product."""

import json
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, SerializationContext
from schemathesis.specs.openapi import checks

from proxy.admin.app import OPERATIONS
from proxy.admin.media_type import BYTES, LINES
from proxy.admin.openapi import document
from proxy.admin.operation import Operation
from tests import chat
from tests.server import Server
from tests.upstream import Answer, ReceivedCall, ScriptedUpstream, plain
from tracemill import Client, ForbiddenError, TokenError


@schemathesis.serializer(LINES)
def as_lines(_context: SerializationContext, value: Any) -> bytes:
    """A text as it stands; anything else as one line of JSON."""
    return value.encode("utf-8", "replace") if isinstance(value, str) else json.dumps(value).encode()


schema = schemathesis.openapi.from_dict(document(OPERATIONS))
LISTS = {"/admin/api/erasures": "/admin/api/changes"}
"""Where ids are found of what has no list of its own."""
NEED_TEACHERS = {"file_job", "get_job", "delete_job", "job_events", "job_report", "job_predictions", "job_rows"}
"""Asked rightly in `test_jobs`: no example of a schema names a model that a server may ask."""
NEED_DATASETS = {"get_cluster", "get_evaluation", "evaluation_predictions", "compare_evaluations"}
"""Asked rightly in `test_dataset_api`."""
EXAMPLE = {"name": "example", "number": "1", "other": "1", "row_id": "example-1"}
"""What stands for each part of a path of datasets."""
answered: dict[str, set[int]] = defaultdict(set)


def script(_call: ReceivedCall) -> Answer:
    return plain(json.dumps(chat.completion(chat.text("Hello"))).encode())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with (
        ScriptedUpstream(script) as upstream,
        Server(upstream.base_url, tmp_path_factory.mktemp("serve") / "data") as running,
    ):
        for number in range(3):
            body = {"model": "m-1", "messages": [{"role": "user", "content": f"Hi {number}"}]}
            httpx.post(f"{running.base_url}/chat/completions", json=body).raise_for_status()
        running.wait_traces(3)
        with Client(running.admin_url) as client:
            row = {"row_id": EXAMPLE["row_id"], "prompt": "Hi", "response": "Ho"}
            job = client.upload_rows(EXAMPLE["name"], json.dumps(row).encode())
            client.wait_job(job.id)
            EXAMPLE["row_id"] = str(next(client.rows(EXAMPLE["name"])).row["row_id"])
            client.freeze(EXAMPLE["name"])
        yield running


def test_the_description_that_is_served_is_that_of_the_declarations(server: Server) -> None:
    assert server.admin("/admin/api/openapi.json") == document(OPERATIONS)


SLOW = ["upload_dataset", "file_job"]
"""Each body that they take costs a process of its own, so they get fewer."""


@schema.exclude(operation_id=SLOW).parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
def test_every_operation_answers_what_its_description_says(case: Case, server: Server) -> None:
    """Whatever is asked, right or wrong: no failure of ours, and status, type, fields and shape are as described."""
    hold_against_its_description(case, server)


@schema.include(operation_id=SLOW).parametrize()
@settings(
    max_examples=25,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=True,
)
def test_what_starts_a_process_answers_what_its_description_says(case: Case, server: Server) -> None:
    hold_against_its_description(case, server)


def hold_against_its_description(case: Case, server: Server) -> None:
    answer = case.call_and_validate(
        base_url=server.admin_url,
        excluded_checks=[
            # What `where`, `cursor` and an id take, a schema cannot tell.
            checks.positive_data_acceptance,
            # This server asks for no token; wrong ones are met in the tests of the gate.
            checks.ignored_auth,
            # Lines are text, and any body is one: what a line is none of, the answer tells.
            *([checks.negative_data_rejection] if case.media_type in (LINES, BYTES) else []),
        ],
    )
    answered[case.operation.label].add(answer.status_code)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_was_asked_rightly_and_wrongly(operation: Operation, server: Server) -> None:
    """Were all examples of one kind, the test before would have told little."""
    told = answered[f"{operation.method} {operation.path}"]
    if operation.name in NEED_TEACHERS | NEED_DATASETS:
        assert told
    elif operation.path_parts and operation.path_parts[0][0] == "name":
        if operation.method == "GET":
            with urllib.request.urlopen(server.admin_url + operation.path.format(**EXAMPLE), timeout=20) as answer:
                assert answer.status == 200
    elif not operation.path_parts:
        assert told & {good.status for good in (operation.good, operation.later) if good is not None}
    elif operation.method == "GET":
        path = operation.path.partition("/{")[0]
        known = server.wait_for(lambda: server.admin(f"{LISTS.get(path, path)}?limit=1")["data"], 1, 10)[0]["id"]
        assert server.admin(operation.path.format(id=known))
    assert any(400 <= status < 500 for status in told)


def test_a_token_for_reading_reads_and_no_token_is_written_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = {
        "TRACEMILL_ADMIN_TOKEN": "canary-of-the-admin-token",
        "TRACEMILL_ADMIN_READ_TOKEN": "canary-of-the-reader",
    }
    for name, value in tokens.items():
        monkeypatch.setenv(name, value)
    data_dir = tmp_path / "data"
    with ScriptedUpstream(script) as upstream, Server(upstream.base_url, data_dir) as server:
        httpx.post(f"{server.base_url}/chat/completions", json={"model": "m-1", "messages": []}).raise_for_status()
        with Client(server.admin_url, token=tokens["TRACEMILL_ADMIN_READ_TOKEN"]) as reader:
            server.wait_for(lambda: list(reader.traces()), 1, 10)
            with pytest.raises(ForbiddenError, match="scope_missing"):
                reader.erase(where="model = m-1")
            assert len(list(reader.export(all=True))) == 1
        with Client(server.admin_url, token="canary-of-somebody-else") as stranger, pytest.raises(TokenError):
            stranger.stats()
        with Client(server.admin_url, token=tokens["TRACEMILL_ADMIN_TOKEN"]) as admin:
            (change,) = server.wait_for(lambda: list(admin.changes()), 1, 10)
            assert (change.kind, change.asked_by) == ("export", "read")
            admin.erase(where="model = m-1")
            server.wait_for(lambda: [not list(admin.traces())] if not list(admin.traces()) else [], 1, 20)
        files = [path for path in data_dir.rglob("*") if path.is_file()]
        assert len(files) > 2
        assert [path for path in files if b"canary-of" in path.read_bytes()] == []
    assert "canary-of" not in server.log()
