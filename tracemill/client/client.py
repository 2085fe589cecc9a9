"""The admin API from Python, waiting for each answer.

from tracemill import Client

with Client() as client:
for summary in client.traces('model ~ "gpt-*" and not complete'):
print(summary.id, client.trace(summary.id).error)
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import wraps
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx2 as httpx

from tracemill.client import operations, procedures
from tracemill.client.call import Blocks, Call, Lines, Pages
from tracemill.client.connection import DEFAULT_URL, options, sending
from tracemill.client.errors import TracemillError
from tracemill.client.line_reader import LineReader
from tracemill.client.step import Pause, Procedure, Save, Step, Work

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


def _given_in_blocks(declared: Callable[P, Blocks]) -> "Callable[Concatenate[Client, P], Iterator[bytes]]":
    @wraps(declared)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[bytes]:
        return self.blocks(declared(*args, **kwargs))

    return method


def _carried_out(declared: Callable[P, Procedure[T]]) -> "Callable[Concatenate[Client, P], T]":
    @wraps(declared)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.carry_out(declared(*args, **kwargs))

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

    def blocks(self, blocks: Blocks) -> Iterator[bytes]:
        """Give bytes as they come; closing the iterator ends the answer."""
        with sending(self._client, blocks.asked) as response:
            yield from response.iter_bytes()

    def carry_out(self, procedure: Procedure[T]) -> T:
        """Carry out the steps of a procedure of `tracemill.client.procedures`."""
        result: object = None
        with closing(procedure):
            while True:
                try:
                    step = procedure.send(result)
                except StopIteration as ended:
                    done: T = ended.value
                    return done
                try:
                    result = self._take(step)
                except TracemillError as exc:
                    # Where the procedure waits, so that it lets go of what it holds.
                    procedure.throw(exc)

    def _take(self, step: Step) -> object:
        match step:
            case Pause(seconds):
                time.sleep(seconds)
            case Save(blocks, path):
                with path.open("xb") as file:
                    for block in self.blocks(blocks):
                        file.write(block)
            case Work(do):
                return do()
            case Call():
                return self.send(step)
        return None

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
    file_work = _answered(operations.job.file_work)
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
    datasets = _answered(operations.dataset.datasets)
    dataset = _answered(operations.dataset.dataset)
    versions = _answered(operations.dataset.versions)
    version = _answered(operations.dataset.version)
    row_page = _answered(operations.dataset.row_page)
    rows = _walked(operations.dataset.rows)
    row = _answered(operations.dataset.row)
    freeze = _answered(operations.dataset.freeze)
    discard = _answered(operations.dataset.discard)
    diff = _answered(operations.dataset.diff)
    export_version = _given_in_blocks(operations.dataset.export_version)
    upload_rows = _answered(operations.dataset.upload_rows)
    decisions = _answered(operations.dataset.decisions)
    reviews = _answered(operations.review.reviews)
    decide = _answered(operations.review.decide)
    clusters = _answered(operations.cluster.clusters)
    cluster = _answered(operations.cluster.cluster)
    evaluation_page = _answered(operations.evaluation.evaluation_page)
    evaluations = _walked(operations.evaluation.evaluations)
    evaluation = _answered(operations.evaluation.evaluation)
    evaluation_predictions = _streamed(operations.evaluation.evaluation_predictions)
    compare = _answered(operations.evaluation.compare)
    wait_job = _carried_out(procedures.job.wait_job)
    upload_dataset = _carried_out(procedures.birth.upload_dataset)
    generate_dataset = _carried_out(procedures.birth.generate_dataset)
    curate = _carried_out(procedures.version.curate)
    evaluate = _carried_out(procedures.version.evaluate)
    build_clusters = _carried_out(procedures.birth.build_clusters)
    promote_cluster = _carried_out(procedures.birth.promote_cluster)
    export_dataset = _carried_out(procedures.version.export_dataset)
    healthz = _answered(operations.health.healthz)
    readyz = _answered(operations.health.readyz)
    metrics = _answered(operations.health.metrics)
    openapi = _answered(operations.health.openapi)
