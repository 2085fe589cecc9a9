"""Every operation of the admin API, once: what is asked, and what the answer is read as."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, BinaryIO, Literal, NamedTuple

from proxy.admin.shapes.change import Change, ChangePage
from proxy.admin.shapes.conversation import Conversation, ConversationPage, ConversationSummary, Member
from proxy.admin.shapes.erasure import Erasure, ErasureAccepted
from proxy.admin.shapes.feedback import Feedback, FeedbackLater, FeedbackList
from proxy.admin.shapes.imports import ImportReport
from proxy.admin.shapes.job import Job, JobPage
from proxy.admin.shapes.raw import RawCall
from proxy.admin.shapes.stats import Stats
from proxy.admin.shapes.trace import Trace, TracePage, TraceSummary
from tracemill.client.blocks import in_blocks
from tracemill.client.call import LINES, Asked, Call, Lines, Page, Pages, as_json, as_shape, as_text, part

FeedbackValue = bool | float | str | Mapping[str, Any] | None

_API = "/admin/api"
_PAGE = 200
"""Entries of a page when a client walks through all of them."""


def trace_page(
    where: str | None = None, *, order: str | None = None, cursor: str | None = None, limit: int | None = None
) -> Call[TracePage]:
    """Give one page of traces without their bodies.

    A page is what was found within a moment: while it has a `next_cursor` there may be more, even if it is empty.

    Args:
        where: Selects traces, as in docs/filter.md; None for all.
        order: What comes first, such as `created_at` or `-duration_ms`, where `-` is the largest; None for the newest.
        cursor: `next_cursor` of the page before; None for the first.
        limit: Most traces of the page, up to 500; None for 50.
    """
    query = {"where": where, "order": order, "cursor": cursor, "limit": limit}
    return Call(Asked("list_traces", "GET", f"{_API}/traces", query), as_shape(TracePage))


def traces(where: str | None = None, *, order: str | None = None) -> Pages[TraceSummary]:
    """Give all traces of a selection without their bodies, page by page as they are taken.

    Args:
        where: Selects traces, as in docs/filter.md; None for all.
        order: As for `trace_page`.
    """

    def at(cursor: str | None) -> Call[Page[TraceSummary]]:
        found = trace_page(where, order=order, cursor=cursor, limit=_PAGE)
        return Call(found.asked, found.read)

    return Pages(at)


def trace(id: str) -> Call[Trace]:  # noqa: A002 - the API's word
    """Give one whole trace.

    Args:
        id: The trace's id (`x-tracemill-trace-id`), or the completion's own id, or the answer's `x-request-id`.
    """
    return Call(Asked("get_trace", "GET", f"{_API}/traces/{part(id)}"), as_shape(Trace))


def trace_json(id: str) -> Call[bytes]:  # noqa: A002
    """Give one whole trace as the JSON text that was answered, with every number as it was written.

    Args:
        id: As for `trace`.
    """
    return Call(Asked("get_trace", "GET", f"{_API}/traces/{part(id)}"), bytes)


def raw_call(id: str) -> Call[RawCall]:  # noqa: A002
    """Give what was really sent and what came back, while it is kept.

    Args:
        id: As for `trace`.
    """
    return Call(Asked("get_raw_call", "GET", f"{_API}/traces/{part(id)}/raw"), as_shape(RawCall))


def conversation_page(
    where: str | None = None, *, cursor: str | None = None, limit: int | None = None
) -> Call[ConversationPage]:
    """Give one page of conversations without their calls, the one with the newest selected call first.

    Args:
        where: Selects the conversations that have a call of this kind, as in docs/filter.md; None for all.
        cursor: `next_cursor` of the page before; None for the first.
        limit: Most conversations of the page, up to 500; None for 50.
    """
    query = {"where": where, "cursor": cursor, "limit": limit}
    return Call(Asked("list_conversations", "GET", f"{_API}/conversations", query), as_shape(ConversationPage))


def conversations(where: str | None = None) -> Pages[ConversationSummary]:
    """Give all conversations without their calls, the one with the newest selected call first, page by page.

    Args:
        where: As for `conversation_page`.
    """

    def at(cursor: str | None) -> Call[Page[ConversationSummary]]:
        found = conversation_page(where, cursor=cursor, limit=_PAGE)
        return Call(found.asked, found.read)

    return Pages(at)


def conversation(id: str, *, cursor: str | None = None, limit: int | None = None) -> Call[Conversation]:  # noqa: A002
    """Give one conversation with a page of its calls, the oldest first.

    Args:
        id: The conversation's id, or one that it had before.
        cursor: `next_cursor` of the page before; None for the first.
        limit: Most calls of the page, up to 500; None for 50.
    """
    path = f"{_API}/conversations/{part(id)}"
    return Call(Asked("get_conversation", "GET", path, {"cursor": cursor, "limit": limit}), as_shape(Conversation))


def conversation_calls(id: str) -> Pages[Member]:  # noqa: A002
    """Give all calls of a conversation, the oldest first, page by page as they are taken.

    Args:
        id: As for `conversation`.
    """

    def at(cursor: str | None) -> Call[Page[Member]]:
        found = conversation(id, cursor=cursor, limit=_PAGE)
        return Call(found.asked, lambda body: _members(found.read(body)))

    return Pages(at)


def export(
    where: str | None = None,
    *,
    format: Literal["traces", "openai"] = "traces",  # noqa: A002
    all: bool = False,  # noqa: A002
) -> Lines:
    r"""Give traces as lines of JSON, oldest first, each ending in `\n`, as they come.

    Args:
        where: Selects traces, as in docs/filter.md; None for all.
        format: `traces` for `tracemill process --traces`, `openai` for fine-tuning files.
        all: Whether traces that are not whole are given too.
    """
    return Lines(Asked("export", "GET", f"{_API}/export", {"where": where, "format": format, "all": all}))


def erase_trace(id: str) -> Call[ErasureAccepted]:  # noqa: A002
    """Have one trace erased, with all that was made of it; docs/retention.md tells what goes and what stays.

    Args:
        id: As for `trace`; the call may be in flight still.
    """
    return Call(Asked("erase_trace", "DELETE", f"{_API}/traces/{part(id)}"), as_shape(ErasureAccepted))


def erase_session(session: str) -> Call[ErasureAccepted]:
    """Have all traces of a session erased whose calls began until now.

    Args:
        session: As the client named it; one with a slash takes `erase`.
    """
    return Call(Asked("erase_session", "DELETE", f"{_API}/sessions/{part(session)}"), as_shape(ErasureAccepted))


def erase_user(user: str) -> Call[ErasureAccepted]:
    """Have all traces of a user erased whose calls began until now.

    Args:
        user: As the client named it; one with a slash takes `erase`.
    """
    return Call(Asked("erase_user", "DELETE", f"{_API}/users/{part(user)}"), as_shape(ErasureAccepted))


def erase(
    *,
    traces: Sequence[str] | None = None,
    session: str | None = None,
    user: str | None = None,
    conversation: str | None = None,
    where: str | None = None,
) -> Call[ErasureAccepted]:
    """Have traces erased, with all that was made of them; exactly one of the arguments says which.

    Args:
        traces: Trace ids.
        session: All of a session, as the client named it.
        user: All of a user, as the client named it.
        conversation: All of a conversation, by its id.
        where: All that an expression selects, as in docs/filter.md.

    Returns:
        What takes the erasure; `erasure` tells how far it is.
    """
    selected = {
        "traces": None if traces is None else list(traces),
        "session": session,
        "user": user,
        "conversation": conversation,
        "where": where,
    }
    body = json.dumps({name: value for name, value in selected.items() if value is not None}).encode()
    return Call(Asked("erase", "POST", f"{_API}/erasures", body=body), as_shape(ErasureAccepted))


def erasure(id: str) -> Call[Erasure]:  # noqa: A002
    """Tell how far an erasure is.

    Args:
        id: `change_id` of what took it.
    """
    return Call(Asked("get_erasure", "GET", f"{_API}/erasures/{part(id)}"), as_shape(Erasure))


def import_calls(
    lines: bytes | BinaryIO | Iterable[bytes],
    *,
    format: str = "auto",  # noqa: A002
    tags: Mapping[str, str] | None = None,
    dry_run: bool = False,
) -> Call[ImportReport]:
    r"""Store calls that others recorded; what is there already is not stored twice.

    Args:
        lines: JSON Lines, plain or as gzip or zstd: as bytes, as a file opened for reading bytes, or as lines, each
            ending in `\n`. A file is sent in blocks, so it may be larger than the memory.
        format: How the lines are written, as in docs/import.md; `auto` tells it line by line.
        tags: Tags for every trace; without commas and equals signs.
        dry_run: Whether to read and count alone.

    Returns:
        What was read and stored, and what could not be read and why. `stored` is None where it is on the disk and
        ingest comes to it later.
    """
    joined = ",".join(f"{name}={value}" for name, value in tags.items()) if tags else None
    query = {"format": format, "tags": joined, "dry_run": dry_run}
    body = lines if isinstance(lines, bytes) else in_blocks(lines)
    return Call(Asked("import_calls", "POST", f"{_API}/import", query, body, LINES), as_shape(ImportReport))


def stats(
    where: str | None = None,
    *,
    group_by: Sequence[str] = (),
    first_day: date | str | None = None,
    last_day: date | str | None = None,
) -> Call[Stats]:
    """Count what the store holds, and under `usage` what calls used and cost.

    Args:
        where: Selects the calls of `usage`, as in docs/filter.md; None for all.
        group_by: What the groups of `usage` are by, such as `model` and `day`; docs/cost.md names all.
        first_day: First day of `usage`, UTC, as a date or like `2026-01-31`; None for the first there is.
        last_day: Last day of `usage`; None for the last there is.
    """
    query = {
        "where": where,
        "group_by": ",".join(group_by) or None,
        "from": None if first_day is None else str(first_day),
        "to": None if last_day is None else str(last_day),
    }
    return Call(Asked("stats", "GET", f"{_API}/stats", query), as_shape(Stats))


def give_feedback(
    trace: str,
    value: FeedbackValue,
    *,
    name: str | None = None,
    message: int | None = None,
    choice: int | None = None,
    by: str | None = None,
    id: str | None = None,  # noqa: A002
) -> Call[Feedback | FeedbackLater]:
    """Say what somebody thinks of a trace, of one of its messages, or of one of its replies.

    Args:
        trace: The trace's id, or the completion's, or the answer's `x-request-id`; it need not be stored yet.
        value: True or false; a number; a text; an assistant message, which is the answer as it should have been; or
            None, which takes back what the same person said under this name.
        name: What it is about, such as `helpful`; texts and messages need none.
        message: Position of the request's message that it is about, from 0.
        choice: Index of the reply that it is about.
        by: Who thinks so; None for the name of the token.
        id: A UUID of the entry: asked again under the same id, it is given once.

    Returns:
        The entry; a `FeedbackLater` where it is on the disk and cannot be read yet.
    """
    given = {"value": value, "name": name, "message": message, "choice": choice, "by": by, "id": id}
    body = json.dumps({key: one for key, one in given.items() if one is not None or key == "value"}).encode()
    path = f"{_API}/traces/{part(trace)}/feedback"
    return Call(Asked("give_feedback", "POST", path, body=body), _read_feedback)


def feedback(trace: str) -> Call[FeedbackList]:
    """Give all feedback on a trace in its order, what no longer counts too.

    Args:
        trace: As for `give_feedback`.
    """
    path = f"{_API}/traces/{part(trace)}/feedback"
    return Call(Asked("list_feedback", "GET", path), as_shape(FeedbackList))


def change_page(kind: str | None = None, *, cursor: str | None = None, limit: int | None = None) -> Call[ChangePage]:
    """Give one page of the audit log, the last applied first.

    Args:
        kind: Changes of one kind; None for all.
        cursor: `next_cursor` of the page before; None for the first.
        limit: Most changes of the page, up to 500; None for 50.
    """
    query = {"kind": kind, "cursor": cursor, "limit": limit}
    return Call(Asked("list_changes", "GET", f"{_API}/changes", query), as_shape(ChangePage))


def changes(kind: str | None = None) -> Pages[Change]:
    """Give the whole audit log, the last applied first, page by page as it is taken.

    Args:
        kind: Changes of one kind; None for all.
    """

    def at(cursor: str | None) -> Call[Page[Change]]:
        found = change_page(kind, cursor=cursor, limit=_PAGE)
        return Call(found.asked, found.read)

    return Pages(at)


def change(id: str) -> Call[Change]:  # noqa: A002
    """Tell what became of a change that was asked for.

    Args:
        id: The change's id.
    """
    return Call(Asked("get_change", "GET", f"{_API}/changes/{part(id)}"), as_shape(Change))


def file_job(
    config: Mapping[str, Any],
    job_description: Mapping[str, Any],
    *,
    where: str | None = None,
    test: Sequence[Mapping[str, Any]] | None = None,
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
        "name": name,
        "max_calls": max_calls,
        "max_cost": max_cost,
        "id": id,
    }
    body = json.dumps({key: one for key, one in given.items() if one is not None}).encode()
    return Call(Asked("file_job", "POST", f"{_API}/jobs", body=body), as_shape(Job))


def job_page(*, cursor: str | None = None, limit: int | None = None) -> Call[JobPage]:
    """Give one page of the filed jobs, the latest first.

    Args:
        cursor: `next_cursor` of the page before; None for the first.
        limit: Most jobs of the page, up to 500; None for 50.
    """
    return Call(Asked("list_jobs", "GET", f"{_API}/jobs", {"cursor": cursor, "limit": limit}), as_shape(JobPage))


def jobs() -> Pages[Job]:
    """Give all filed jobs, the latest first, page by page as they are taken."""

    def at(cursor: str | None) -> Call[Page[Job]]:
        found = job_page(cursor=cursor, limit=_PAGE)
        return Call(found.asked, found.read)

    return Pages(at)


def job(id: str) -> Call[Job]:  # noqa: A002
    """Tell where a job stands.

    Args:
        id: The job's id.
    """
    return Call(Asked("get_job", "GET", f"{_API}/jobs/{part(id)}"), as_shape(Job))


def cancel_job(id: str) -> Call[Job]:  # noqa: A002
    """Stop a job; what it has paid for is kept. One that has ended stays as it is.

    Args:
        id: The job's id.
    """
    return Call(Asked("cancel_job", "POST", f"{_API}/jobs/{part(id)}/cancel"), as_shape(Job))


def resume_job(id: str, *, max_calls: int | None = None, max_cost: float | None = None) -> Call[Job]:  # noqa: A002
    """Have a job that stopped or failed go on; nothing is paid for twice.

    Args:
        id: The job's id.
        max_calls: Most calls that it may buy, all its attempts together; None for what held before.
        max_cost: Most money that it may spend, all its attempts together; None for what held before.
    """
    body = json.dumps({"max_calls": max_calls, "max_cost": max_cost}).encode()
    return Call(Asked("resume_job", "POST", f"{_API}/jobs/{part(id)}/resume", body=body), as_shape(Job))


def job_events(id: str, *, after: int | None = None) -> Lines:  # noqa: A002
    """Follow a job until it has ended: one line of JSON for each event, the past ones first.

    Args:
        id: The job's id.
        after: `id` of the last event that is known; None for all.
    """
    return Lines(Asked("job_events", "GET", f"{_API}/jobs/{part(id)}/events", {"after": after}))


def job_report(id: str) -> Call[dict[str, object]]:  # noqa: A002
    """Give the report of a job that is done.

    Args:
        id: The job's id.
    """
    return Call(Asked("job_report", "GET", f"{_API}/jobs/{part(id)}/report"), as_json)


def job_predictions(id: str) -> Lines:  # noqa: A002
    """Give the base model's predictions on the test rows, a line of JSON each.

    Args:
        id: The job's id.
    """
    return Lines(Asked("job_predictions", "GET", f"{_API}/jobs/{part(id)}/predictions"))


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
    return Lines(Asked("job_rows", "GET", f"{_API}/jobs/{_part(id)}/rows", {"part": part}))


def healthz() -> Call[str]:
    """Ask whether the admin side answers; needs no token."""
    return Call(Asked("healthz", "GET", "/healthz"), as_text)


def readyz() -> Call[str]:
    """Ask whether the store can be read."""
    return Call(Asked("readyz", "GET", "/readyz"), as_text)


def metrics() -> Call[str]:
    """Give all metrics in the text format of Prometheus."""
    return Call(Asked("metrics", "GET", "/metrics"), as_text)


def openapi() -> Call[dict[str, object]]:
    """Give the OpenAPI 3.1 document of the admin API."""
    return Call(Asked("openapi", "GET", f"{_API}/openapi.json"), as_json)


_part = part


class _Members(NamedTuple):
    data: list[Member]
    next_cursor: str | None


def _members(page: Conversation) -> Page[Member]:
    return _Members(page.members, page.next_cursor)


def _read_feedback(body: bytes) -> Feedback | FeedbackLater:
    return as_shape(Feedback)(body) if "kind" in as_json(body) else as_shape(FeedbackLater)(body)
