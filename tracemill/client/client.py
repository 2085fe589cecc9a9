"""The admin API from Python, waiting for each answer.

from tracemill import Client

with Client() as client:
for summary in client.traces('model ~ "gpt-*" and not complete'):
print(summary.id, client.trace(summary.id).error)
"""

from collections.abc import Callable, Iterator
from functools import wraps
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx2 as httpx

from tracemill.client import operations
from tracemill.client.call import Call, Lines, Pages
from tracemill.client.connection import DEFAULT_URL, options, sending
from tracemill.client.line_reader import LineReader

P = ParamSpec("P")
T = TypeVar("T")


def _answered(declared: Callable[P, Call[T]]) -> "Callable[Concatenate[Client, P], T]":
    @wraps(declared)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(declared(*args, **kwargs))

    return method


def _walked(declared: Callable[P, Pages[T]]) -> "Callable[Concatenate[Client, P], Iterator[T]]":
    @wraps(declared)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self.walk(declared(*args, **kwargs))

    return method


def _streamed(declared: Callable[P, Lines]) -> "Callable[Concatenate[Client, P], Iterator[bytes]]":
    @wraps(declared)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[bytes]:
        return self.lines(declared(*args, **kwargs))

    return method


class Client:
    """The admin side of a running Tracemill.

    Any number of threads may use one. Every method raises a `TracemillError` when it gets no result.

    Args:
        base_url: Where the admin side listens.
        token: Its token; None for the one that `TRACEMILL_ADMIN_TOKEN` holds, if it holds one.
        timeout_s: Longest silence of the admin side.

    Raises:
        ValueError: The URL or the token cannot be used.
    """

    def __init__(self, base_url: str = DEFAULT_URL, *, token: str | None = None, timeout_s: float = 60.0) -> None:
        self._client = httpx.Client(**options(base_url, token, timeout_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({str(self._client.base_url)!r})"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(self, call: Call[T]) -> T:
        """Carry out one call of `tracemill.client.operations`."""
        with sending(self._client, call.asked) as response:
            return call.read(response.read())

    def walk(self, pages: Pages[T]) -> Iterator[T]:
        """Give the entries of all pages; a page is asked for when its first entry is taken."""
        cursor: str | None = None
        while True:
            page = self.send(pages.at(cursor))
            yield from page.data
            cursor = page.next_cursor
            if cursor is None:
                return

    def lines(self, lines: Lines) -> Iterator[bytes]:
        """Give lines as they come; closing the iterator ends the answer."""
        reader = LineReader()
        with sending(self._client, lines.asked) as response:
            for block in response.iter_bytes():
                yield from reader.take(block)
        if rest := reader.end():
            yield rest

    trace_page = _answered(operations.trace.trace_page)
    traces = _walked(operations.trace.traces)
    trace = _answered(operations.trace.trace)
    trace_json = _answered(operations.trace.trace_json)
    raw_call = _answered(operations.trace.raw_call)
    conversation_page = _answered(operations.conversation.conversation_page)
    conversations = _walked(operations.conversation.conversations)
    conversation = _answered(operations.conversation.conversation)
    conversation_calls = _walked(operations.conversation.conversation_calls)
    export = _streamed(operations.trace.export)
    give_feedback = _answered(operations.feedback.give_feedback)
    feedback = _answered(operations.feedback.feedback)
    erase_trace = _answered(operations.erasure.erase_trace)
    erase_session = _answered(operations.erasure.erase_session)
    erase_user = _answered(operations.erasure.erase_user)
    erase = _answered(operations.erasure.erase)
    erasure = _answered(operations.erasure.erasure)
    import_calls = _answered(operations.imports.import_calls)
    stats = _answered(operations.stats.stats)
    change_page = _answered(operations.change.change_page)
    changes = _walked(operations.change.changes)
    change = _answered(operations.change.change)
    file_job = _answered(operations.job.file_job)
    job_page = _answered(operations.job.job_page)
    jobs = _walked(operations.job.jobs)
    job = _answered(operations.job.job)
    cancel_job = _answered(operations.job.cancel_job)
    resume_job = _answered(operations.job.resume_job)
    job_events = _streamed(operations.job.job_events)
    delete_job = _answered(operations.job.delete_job)
    job_report = _answered(operations.job.job_report)
    job_report_page = _answered(operations.job.job_report_page)
    job_predictions = _streamed(operations.job.job_predictions)
    job_rows = _streamed(operations.job.job_rows)
    healthz = _answered(operations.health.healthz)
    readyz = _answered(operations.health.readyz)
    metrics = _answered(operations.health.metrics)
    openapi = _answered(operations.health.openapi)
