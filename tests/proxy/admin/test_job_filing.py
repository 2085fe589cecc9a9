"""Bodies of every kind of job, taken apart into a request and files."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.admin.app import create_admin_app
from proxy.admin.dataset_place import refusing
from proxy.admin.job_filing import read_filing
from proxy.admin.refusal import AdminRefusal, Code
from proxy.admin.shapes.job_taken import JobTaken
from store.errors import DatasetError, FilterError
from store.job_kind import JobKind
from tests.proxy.admin.serving import serving

BODIES: dict[str, dict[str, Any]] = {
    "process": {"config": {"base": {}}, "job_description": {}, "test": [{"a": 1}], "dataset": "d", "where": "complete"},
    "generate": {"dataset": "d", "prompts": ["Hi", {"prompt": "Ho"}], "teacher": "t", "judge": "j", "max_calls": 3},
    "judge": {"version": "d", "model": "j", "config": {"models": {}}},
    "filter": {"version": "d-v1", "where": {"tags": "reviewed"}, "clusters": ["3"], "pii": "drop"},
    "split": {"version": "d", "test": 7},
    "review": {"version": "d", "limit": 9},
    "clusters": {"where": "complete", "clusters": 3},
    "promote": {"clusters": [1, 2], "dataset": "d", "pick": ["x"]},
    "evaluate": {"version": "d", "models": ["m"], "job_description": {"task_description": "x"}},
}
FILES = {
    "process": {"config.json", "job_description.json", "test.jsonl"},
    "generate": {"prompts/prompts.jsonl"},
    "judge": {"config.json"},
    "evaluate": {"job_description.json"},
}


def taken(body: dict[str, Any]) -> JobTaken:
    return JobTaken.model_validate_json(json.dumps(body))


def test_there_is_a_body_for_every_kind_but_uploads() -> None:
    assert {*BODIES, "upload"} == set(JobKind)


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_becomes_a_request_and_the_files_that_belong_to_its_kind(kind: str) -> None:
    body = {"kind": kind, **BODIES[kind]}
    filing = read_filing(taken(body))
    assert filing.kind is JobKind(kind)
    assert set(filing.files) == FILES.get(kind, set())
    kept = {name: body[name] for name in body if name not in ("config", "job_description", "prompts", "where")}
    if kind == "process":
        del kept["test"]
    assert {name: filing.request[name] for name in kept} == kept
    assert json.dumps(dict(filing.request))


def test_prompts_are_kept_as_the_file_that_they_were() -> None:
    file = {"name": "seeds.txt", "text": "one\ntwo\n"}
    body = {"kind": "generate", **BODIES["generate"], "prompts": file}
    assert read_filing(taken(body)).files == {"prompts/seeds.txt": b"one\ntwo\n"}
    for name in ("../x", "a/b", ".hidden", "", "x" * 200):
        with pytest.raises(ValueError, match="name"):
            taken({**body, "prompts": {**file, "name": name}})


def test_a_body_without_a_kind_is_a_run_of_the_processor() -> None:
    assert read_filing(taken({**BODIES["process"], "max_calls": 5.0})).kind is JobKind.PROCESS


@pytest.mark.parametrize(
    "body",
    [{"kind": "train"}, {"kind": 7}, {"kind": "split", "version": "d", "test": True}, {"kind": "split"}, [], "process"],
)
def test_what_fits_no_kind_is_refused(body: Any) -> None:
    with pytest.raises(ValueError, match="JobTaken"):
        taken(body)


async def test_a_fault_is_told_by_its_member_and_not_by_the_types_that_were_tried(tmp_path: Path) -> None:
    body = json.dumps({"kind": "generate", **BODIES["generate"], "prompts": "one"}).encode()
    async with serving(create_admin_app(tmp_path)) as ask:
        answer = await ask("/admin/api/jobs", "POST", body, **{"content-type": "application/json"})
    assert (answer.status, answer.json["error"]["param"]) == (400, "prompts")
    assert "member 'prompts': " in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("there is no dataset 'x'.", "There is no dataset 'x'."),
        ("x has no version 9.", "x has no version 9."),
        ("x-v1: it is frozen.", "x-v1: it is frozen."),
    ],
)
def test_the_name_of_a_dataset_is_not_written_large(said: str, told: str) -> None:
    with pytest.raises(AdminRefusal) as refused, refusing(Code.NOT_FOUND):
        raise DatasetError(said)
    assert str(refused.value) == told


def test_what_no_file_can_hold_is_refused() -> None:
    with pytest.raises(FilterError):
        read_filing(taken({**BODIES["process"], "where": "modle = x"}))
    with pytest.raises(AdminRefusal, match="calibration"):
        read_filing(taken({**BODIES["process"], "config": {"evaluation": {"calibration": "x.jsonl"}}}))
