"""What the work of any kind of job is given, and what it gives back."""

import contextlib
import json
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from processing.errors import ProcessingError
from processing.progress import LiveProgress, Progress, StageProgress
from store.connection import SqliteConnection
from store.data_files import WORK_FILE
from store.database import WORK, open_reader_now
from store.datasets.version_table import Wanted, check_opening, find
from store.errors import StoreError
from store.filed_job import Bounds, OneFiledJob
from store.job_folder import EventKind, JobFolder
from store.job_kind import JobKind
from tracemill.job_kinds.servers import Servers, allowed

if TYPE_CHECKING:
    # What not every kind of job needs is imported where it is: filing an upload waits for no client of models.
    from processing.budget import Budget
    from processing.config import Config
    from processing.job_description import JobDescription
    from processing.teachers import Teachers

_STAGE_EVERY_S = 0.5
_ANY_TASK = "chat-completion"
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)")


class MemberError(Exception):
    """What is wrong with what a job is given.

    Attributes:
        member: The member of the body at fault.
    """

    def __init__(self, member: str, problem: Exception) -> None:
        super().__init__(as_members(str(problem)))
        self.member = member


@contextmanager
def about(member: str) -> Iterator[None]:
    """Say of an error in this block which member of the body it is about."""
    try:
        yield
    except (ProcessingError, StoreError) as exc:
        raise MemberError(member, exc) from exc


def as_members(message: str) -> str:
    """Name options of the command line as the members of a body are named; what no database holds is written out."""
    sound = message.encode("utf-8", "backslashreplace").decode()
    return _OPTION.sub(lambda found: found[1].replace("-", "_"), sound)


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
    def config(self) -> "Config":
        """Where models are asked, with the keys of their servers; without a file, all where models are asked at all.

        Raises:
            ProcessingError: It is wrong, or names servers that may not be asked.
        """
        from processing.model_config import load_models

        path = self._if_given(self.folder.config)
        match self.request.get("kind"):
            case JobKind.GENERATE:
                from processing.datasets.generate_config import load_generate

                found = load_generate(path)
            case JobKind.EVALUATE:
                found = load_models(path, "evaluation")
            case _:
                found = load_models(path)
        return allowed(found, self.servers, os.environ)

    @cached_property
    def job_description(self) -> "JobDescription | None":
        """The job description of any task; None without one. Raises ProcessingError when it is wrong."""
        from processing import job_description

        path = self._if_given(self.folder.job_description)
        return None if path is None else job_description.load(path, task=_ANY_TASK)

    def _if_given(self, path: Path) -> Path | None:
        return path if path.exists() else None

    def check_birth(self, *, add: bool) -> None:
        """See that the version that the job is to make can be opened.

        Raises:
            MemberError: It cannot.
        """
        with about("dataset"):
            self._look(partial(check_opening, reference=self.request["dataset"], add=add))

    def check_version(self, wants: Wanted = "any") -> None:
        """See that there is the version that the job is about.

        Raises:
            MemberError: There is none.
        """
        with about("version"):
            self._look(partial(find, reference=self.request["version"], wants=wants))

    def _look(self, work: Callable[[SqliteConnection], object]) -> None:
        path = self.data_dir / WORK_FILE
        with closing(open_reader_now(path, WORK)) as db:
            work(db)

    def check_models(self, models: Sequence[str], config: "Config | None" = None) -> None:
        """See that the models can be asked, and that what they cost can be bounded.

        Args:
            models: Their names.
            config: Where they are asked, where it is no configuration of models alone.

        Raises:
            MemberError: One cannot.
        """
        from processing.budget import Budget
        from processing.endpoint import endpoint

        budget = Budget(*self.bounds)
        with about("config"):
            for model in models:
                budget.check(endpoint(model, config or self.config, os.environ))


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
    def budget(self) -> "Budget":
        """What this attempt may buy."""
        from processing.budget import Budget

        return Budget(*self.left)

    @property
    def made(self) -> Path:
        """Where it is noted which version the job has made."""
        return self.folder.path / "made.json"

    @asynccontextmanager
    async def teachers(self) -> "AsyncIterator[tuple[Teachers, Progress]]":
        """Give the models that may be asked, and whom to tell how far the asking is."""
        from processing.model_client import ModelClient
        from processing.teachers import Teachers

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
