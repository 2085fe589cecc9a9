"""The admin side: what was recorded, told over HTTP on a port of its own.

Each resource has a module, such as `traces` or `export`. It holds handlers, `async (Context, Asked) -> Response`, and
ends in its `OPERATIONS`, one `Operation` for each thing that can be asked: method, path, parameters, body, answer and
scope. A new resource is such a module and its line in `OPERATIONS` below; its route, the checking of its requests, its
place in the OpenAPI document and in `docs/admin-api.md` follow from the declarations.

- A handler reads `asked[PARAMETER]`, `asked.path("id")`, `asked.body(BODY)` or, for lines, `asked.blocks()`.
- It answers with `answers.json_answer`, and raises `refusal.AdminRefusal(Code.…, message, param=…)` for what is asked
  wrongly. `FilterError`, `CursorError` and `StoreError` may pass through.
- The JSON of bodies and answers is declared in `proxy.admin.shapes`, a module for each resource: `Given` is what the
  admin side gives, `Taken` what it takes.
- What changes anything goes through `context.changes`: `ask` waits until ingest has done it, `note` does not wait.
- What only the processing can tell or make is asked of `context.worker`, a process for each question; what takes its
  time is filed with `context.jobs`. Versions of datasets are found by `proxy.admin.dataset_place`, which also notes
  what is done to them in the audit log.
- What it stands on beyond the request is in `Context`, which also closes it.

While there is no database yet, everything is empty and nothing is an error.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from proxy.admin import (
    changes,
    clusters,
    conversations,
    dataset_export,
    dataset_upload,
    datasets,
    deletions,
    evaluations,
    export,
    feedback,
    health,
    imports,
    job_files,
    jobs,
    openapi,
    raw,
    reviews,
    stats,
    traces,
)
from proxy.admin.answers import exception_handlers
from proxy.admin.bearer import Tokens
from proxy.admin.change_requests import ChangeRequests
from proxy.admin.context import Context
from proxy.admin.guard import AdminGuard
from proxy.admin.job_filing import JobFiling
from proxy.admin.operation import Operation
from proxy.admin.path_part import PathParts
from proxy.admin.store import AdminStore
from proxy.admin.worker import Worker
from proxy.job_teacher import JobTeacher
from store.job_folder import remove_leftovers

OPERATIONS: tuple[Operation, ...] = (
    *health.OPERATIONS,
    *stats.OPERATIONS,
    *traces.OPERATIONS,
    *raw.OPERATIONS,
    *conversations.OPERATIONS,
    *feedback.OPERATIONS,
    *export.OPERATIONS,
    *imports.OPERATIONS,
    *changes.OPERATIONS,
    *deletions.OPERATIONS,
    *jobs.OPERATIONS,
    *job_files.OPERATIONS,
    *datasets.OPERATIONS,
    *dataset_upload.OPERATIONS,
    *dataset_export.OPERATIONS,
    *reviews.OPERATIONS,
    *clusters.OPERATIONS,
    *evaluations.OPERATIONS,
    *openapi.OPERATIONS,
)
"""Everything the admin side can be asked."""


def create_admin_app(
    data_dir: Path,
    *,
    token: str | None = None,
    read_token: str | None = None,
    own_names: Iterable[str] = (),
    metrics_folder: Path | None = None,
    is_captured: bool = True,
    job_command: Sequence[str] = (),
    job_teachers: Sequence[JobTeacher] = (),
) -> ASGIApp:
    """Make the admin application; its reader is opened when a database appears and closed by lifespan shutdown.

    Args:
        data_dir: The data directory; it need not hold a database yet.
        token: Bearer token that may do everything. With this one or the next, one of them is asked for everywhere but
            at `/healthz`.
        read_token: Bearer token that may only read.
        own_names: Host names, besides `localhost` and IP literals, that requests may name.
        metrics_folder: Where the serving processes tell their counts; None to leave them out.
        is_captured: Whether there is an ingest process, which does what is asked; without one nothing is changed.
        job_command: What checks and runs jobs; none are taken without one.
        job_teachers: Servers that jobs may ask.
    """
    store = AdminStore(data_dir)
    requests = ChangeRequests(data_dir, store, is_on=is_captured)
    worker = Worker(job_command, job_teachers)
    filing = JobFiling(data_dir, worker)
    context = Context(data_dir, store, metrics_folder, requests, filing, worker, OPERATIONS)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(remove_leftovers, data_dir)
        await asyncio.to_thread(dataset_export.remove_leftovers, data_dir)
        try:
            yield
        finally:
            await context.close()

    app = Starlette(
        routes=routes(context),
        middleware=[Middleware(PathParts)],
        exception_handlers=exception_handlers(data_dir),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return AdminGuard(app, tokens=Tokens(admin=token, read=read_token), own_names=own_names)


def routes(context: Context) -> list[Route]:
    """Make one route for each path, so that a wrong method is told all that the path has."""

    def path_of(operation: Operation) -> str:
        return operation.path

    # In this order a fixed part of a path comes before a variable one, as `{` comes after all letters.
    by_path = groupby(sorted(context.operations, key=path_of), path_of)
    return [_route(path, list(held), context) for path, held in by_path]


def _route(path: str, operations: Sequence[Operation], context: Context) -> Route:
    by_method = {operation.method: operation for operation in operations}

    async def answer(request: Request) -> Response:
        asked = "GET" if request.method == "HEAD" else request.method
        return await by_method[asked].answer(context, request)  # type: ignore[index]

    return Route(path, answer, methods=list(by_method))
