"""Jobs: filed, followed, and what they made."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from proxy.admin.shapes.job import Job, JobPage
from tracemill.client.call import API, PAGE, Asked, Call, Lines, Page, Pages, as_json, as_shape, as_text
from tracemill.client.call import part as as_part


def file_job(
    config: Mapping[str, Any],
    job_description: Mapping[str, Any],
    *,
    where: str | None = None,
    test: Sequence[Mapping[str, Any]] | None = None,
    calibration: Sequence[Mapping[str, Any]] | None = None,
    dataset: str | None = None,
    note: str | None = None,
    name: str | None = None,
    max_calls: int | None = None,
    max_cost: float | None = None,
    id: str | None = None,  # noqa: A002
) -> Call[Job]:
    """Have the server make a dataset of its traces, in a process of its own.

    Args:
        config: The configuration, as in docs/processing-config.md.
        job_description: What the model to be trained has to do.
        where: Selects traces, as in docs/filter.md; None for all.
        test: Rows of a test set of your own; None to have one drawn.
        calibration: Answers that people have judged, to hold the judge against; None for none.
        dataset: Name of a dataset of which it becomes the next version, frozen at once; None for none.
        note: A few words that lists of versions show.
        name: For a person; None for the id.
        max_calls: Most calls of models that it may buy.
        max_cost: Most money that it may spend, in the currency of the configured prices.
        id: A UUIDv7 of the job: asked again under the same id, it is filed once.
    """
    given = {
        "config": config,
        "job_description": job_description,
        "where": where,
        "test": test,
        "calibration": calibration,
        "dataset": dataset,
        "note": note,
        "name": name,
        "max_calls": max_calls,
        "max_cost": max_cost,
        "id": id,
    }
    body = json.dumps({key: one for key, one in given.items() if one is not None}).encode()
    return Call(Asked("file_job", "POST", f"{API}/jobs", body=body), as_shape(Job))


def file_work(
    kind: str,
    members: Mapping[str, Any],
    *,
    name: str | None = None,
    max_calls: int | None = None,
    max_cost: float | None = None,
    id: str | None = None,  # noqa: A002
) -> Call[Job]:
    """File a job of any kind.

    Args:
        kind: What it does, such as `judge`.
        members: What it is given, as docs/admin-api.md tells for each kind; those that are None are left out.
        name: For a person; None for the id.
        max_calls: Most calls of models that it may buy.
        max_cost: Most money that it may spend, in the currency of the configured prices.
        id: A UUIDv7 of the job: asked again under the same id, it is filed once.
    """
    given = {**members, "kind": kind, "name": name, "max_calls": max_calls, "max_cost": max_cost, "id": id}
    body = json.dumps({key: one for key, one in given.items() if one is not None}).encode()
    return Call(Asked("file_job", "POST", f"{API}/jobs", body=body), as_shape(Job))


def job_page(*, cursor: str | None = None, limit: int | None = None) -> Call[JobPage]:
    """Give one page of the filed jobs, the latest first.

    Args:
        cursor: `next_cursor` of the page before; None for the first.
        limit: Most jobs of the page, up to 500; None for 50.
    """
    return Call(Asked("list_jobs", "GET", f"{API}/jobs", {"cursor": cursor, "limit": limit}), as_shape(JobPage))


def jobs() -> Pages[Job]:
    """Give all filed jobs, the latest first, page by page as they are taken."""

    def at(cursor: str | None) -> Call[Page[Job]]:
        found = job_page(cursor=cursor, limit=PAGE)
        return Call(found.asked, found.read)

    return Pages(at)


def job(id: str) -> Call[Job]:  # noqa: A002
    """Tell where a job stands.

    Args:
        id: The job's id.
    """
    return Call(Asked("get_job", "GET", f"{API}/jobs/{as_part(id)}"), as_shape(Job))


def cancel_job(id: str) -> Call[Job]:  # noqa: A002
    """Stop a job; what it has paid for is kept. One that has ended stays as it is.

    Args:
        id: The job's id.
    """
    return Call(Asked("cancel_job", "POST", f"{API}/jobs/{as_part(id)}/cancel"), as_shape(Job))


def resume_job(id: str, *, max_calls: int | None = None, max_cost: float | None = None) -> Call[Job]:  # noqa: A002
    """Have a job that stopped or failed go on; nothing is paid for twice.

    Args:
        id: The job's id.
        max_calls: Most calls that it may buy, all its attempts together; None for what held before.
        max_cost: Most money that it may spend, all its attempts together; None for what held before.
    """
    body = json.dumps({"max_calls": max_calls, "max_cost": max_cost}).encode()
    return Call(Asked("resume_job", "POST", f"{API}/jobs/{as_part(id)}/resume", body=body), as_shape(Job))


def job_events(id: str, *, after: int | None = None) -> Lines:  # noqa: A002
    """Follow a job until it has ended: one line of JSON for each event, the past ones first.

    Args:
        id: The job's id.
        after: `id` of the last event that is known; None for all.
    """
    return Lines(Asked("job_events", "GET", f"{API}/jobs/{as_part(id)}/events", {"after": after}))


def delete_job(id: str) -> Call[Job]:  # noqa: A002
    """Forget a job that has ended, with its folder; what it bought, and versions that it made, are kept.

    Args:
        id: The job's id.
    """
    return Call(Asked("delete_job", "DELETE", f"{API}/jobs/{as_part(id)}"), as_shape(Job))


def job_report(id: str) -> Call[dict[str, object]]:  # noqa: A002
    """Give the report of a job that is done.

    Args:
        id: The job's id.
    """
    return Call(Asked("job_report", "GET", f"{API}/jobs/{as_part(id)}/report", {"format": "json"}), as_json)


def job_report_page(id: str, *, format: Literal["markdown", "html"] = "markdown") -> Call[str]:  # noqa: A002
    """Give the report of a job that is done as a page for people.

    Args:
        id: The job's id.
        format: How it is written.
    """
    return Call(Asked("job_report", "GET", f"{API}/jobs/{as_part(id)}/report", {"format": format}), as_text)


def job_predictions(id: str) -> Lines:  # noqa: A002
    """Give the base model's predictions on the test rows, a line of JSON each.

    Args:
        id: The job's id.
    """
    return Lines(Asked("job_predictions", "GET", f"{API}/jobs/{as_part(id)}/predictions"))


def job_rows(
    id: str,  # noqa: A002
    *,
    part: Literal["train", "test", "unstructured", "dropped", "failed", "review", "rejected"] = "train",
) -> Lines:
    """Give rows of a job that is done, a line of JSON each.

    Args:
        id: The job's id.
        part: Which.
    """
    return Lines(Asked("job_rows", "GET", f"{API}/jobs/{as_part(id)}/rows", {"part": part}))
