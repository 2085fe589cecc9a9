"""What the work of any kind of job is given, and what it gives back."""

import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from processing import config_file
from processing.budget import Budget
from processing.config import Config
from processing.endpoint import endpoint
from processing.errors import InputError, ProcessingError
from processing.model_client import ModelClient
from processing.progress import LiveProgress, Progress, StageProgress
from processing.teachers import Teachers
from store.filed_job import Bounds, OneFiledJob
from store.job_folder import EventKind, JobFolder
from tracemill.job_kinds.servers import Servers, allowed

_STAGE_EVERY_S = 0.5
_WITHOUT_CONFIG = {"base": {"task": "chat-completion"}}


class MemberError(Exception):
    """What is wrong with what a job is given.

    Attributes:
        member: The member of the body at fault.
    """

    def __init__(self, member: str, problem: ProcessingError) -> None:
        super().__init__(str(problem))
        self.member = member


@contextmanager
def about(member: str) -> Iterator[None]:
    """Say of an error in this block which member of the body it is about."""
    try:
        yield
    except ProcessingError as exc:
        raise MemberError(member, exc) from exc


@dataclass(frozen=True)
class Asked:
    """A job as its folder tells it.

    Attributes:
        data_dir: The data directory.
        folder: What it is given.
        servers: What it may ask.
    """

    data_dir: Path
    folder: JobFolder
    servers: Servers

    @cached_property
    def request(self) -> Mapping[str, Any]:
        """The members of the body that are no files."""
        found: Mapping[str, Any] = json.loads(self.folder.request.read_bytes())
        return found

    @cached_property
    def bounds(self) -> Bounds:
        """What the job may buy, as it was filed."""
        return Bounds(self.request.get("max_calls"), self.request.get("max_cost"))

    @cached_property
    def config(self) -> Config:
        """The configuration with the keys of its servers; without a file, models are asked where all are.

        Raises:
            ProcessingError: It is wrong, or names servers that may not be asked.
        """
        path = self.folder.config
        found = config_file.load(path) if path.exists() else config_file.parse(_WITHOUT_CONFIG, source="config")
        return allowed(found, self.servers, os.environ)

    def check_models(self, models: Sequence[str], member: str = "config") -> None:
        """See that the models can be asked, and that what they cost can be bounded.

        Raises:
            MemberError: One cannot.
        """
        with about("config"):
            config = self.config
        budget = Budget(*self.bounds)
        with about(member):
            for model in models:
                budget.check(endpoint(model, config, os.environ))

    def read_names(self, member: str) -> tuple[str, ...]:
        """Give a member that is a list of names, each once.

        Raises:
            MemberError: One stands there twice.
        """
        names = tuple(self.request.get(member) or ())
        with about(member):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise InputError(member, f'names "{twice}" twice.')
        return names


@dataclass(frozen=True)
class Attempt(Asked):
    """One attempt at a job.

    Attributes:
        work: The call table, which counts for the job what it buys.
        run_id: Id of the job.
        left: What it may still buy.
    """

    work: OneFiledJob
    run_id: str
    left: Bounds

    @cached_property
    def progress(self) -> Progress:
        """Writes down how far the job is."""
        return EventProgress(self.folder)

    @cached_property
    def budget(self) -> Budget:
        """What this attempt may buy."""
        return Budget(*self.left)

    @asynccontextmanager
    async def teachers(self) -> AsyncIterator[tuple[Teachers, Progress]]:
        """Give the models that may be asked, and whom to tell how far the asking is."""
        live = LiveProgress(self.progress, lambda: self.budget.cost)
        async with ModelClient(self.config.parallel) as client:
            teachers = Teachers(client, self.work, self.config, os.environ, budget=self.budget, changed=live.refresh)
            live.counts = teachers.counts
            yield teachers, live


class Done(NamedTuple):
    """What came of a job that is done.

    Attributes:
        result: For whoever asks for the job; None where its counts tell all.
        warnings: What a person should know of it.
    """

    result: Mapping[str, Any] | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class KindOfWork:
    """How jobs of one kind are checked and run.

    Attributes:
        check: Reads what the job is given as its run will; raises `MemberError` for what cannot be.
        run: Does the work. It may be killed at any moment and begun again, and must then come to the same.
        publishes_itself: Whether its run writes into `work.db` that it began, as `processing.pipeline` does.
    """

    check: Callable[[Asked], None]
    run: Callable[[Attempt], Awaitable[Done]]
    publishes_itself: bool = field(default=False, kw_only=True)


class EventProgress:
    """Writes progress down, at most twice a second unless a stage begins or ends."""

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._stage = ""
        self._told_at = 0.0

    def __call__(self, progress: StageProgress, /) -> None:
        """Take note of how far a stage is."""
        now = time.monotonic()
        is_same = progress.stage == self._stage and progress.done < progress.total
        if is_same and now - self._told_at < _STAGE_EVERY_S:
            return
        self._stage, self._told_at = progress.stage, now
        facts = {name: getattr(progress, name) for name in StageProgress.__dataclass_fields__}
        # A run does not end because nobody can be told how far it is.
        with contextlib.suppress(OSError):
            self._folder.tell(EventKind.STAGE, **facts)
