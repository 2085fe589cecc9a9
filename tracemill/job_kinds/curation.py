"""Jobs of the kinds `judge`, `filter`, `split` and `review`: the stages of curation, each of which runs alone."""

import asyncio

from processing.datasets.curation_stages import filter_rows, judge, usual_judge
from processing.datasets.review_selection import select_for_review
from processing.datasets.row_filter import FilterRules
from processing.datasets.row_split import split_rows
from processing.errors import InputError
from processing.progress import StageProgress
from store.data_files import WORK_FILE
from store.datasets.dataset_store import DatasetStore
from store.job_kind import JobKind
from tracemill.job_kinds.attempt import Asked, Attempt, Done, KindOfWork, about
from tracemill.job_kinds.job_datasets import open_datasets
from tracemill.personal_data import find_personal


def _check_judge(asked: Asked) -> None:
    asked.check_version()
    if not _only_moves(asked):
        asked.check_models([asyncio.run(_judge_of_stored(asked))])


def _only_moves(asked: Asked) -> bool:
    """Whether nobody is asked: only the threshold is given, which moves over scores that are there."""
    given = ("model", "task", "criteria", "config", "max_calls", "max_cost")
    is_asked = any(asked.request.get(name) is not None for name in given) or asked.folder.config.exists()
    return asked.request.get("threshold") is not None and not is_asked


async def _judge_of_stored(asked: Asked) -> str:
    async with await DatasetStore.open_to_read(asked.data_dir / WORK_FILE) as store:
        return await _judge_of(asked, store)


async def _judge_of(asked: Asked, store: DatasetStore) -> str:
    return asked.request.get("model") or await usual_judge(store, asked.request["version"])


async def _run_judge(attempt: Attempt) -> Done:
    request = attempt.request
    async with open_datasets(attempt) as store, attempt.teachers() as (teachers, progress):
        counts = teachers.counts

        def tell(done: int, total: int) -> None:
            calls = (counts.in_flight, counts.paid, counts.cached, counts.failed)
            progress(StageProgress("judge", done, total, *calls))

        done = await judge(
            store,
            await store.to_curate(request["version"]),
            None if _only_moves(attempt) else await _judge_of(attempt, store),
            teachers,
            threshold=request.get("threshold"),
            task=request.get("task"),
            criteria=request.get("criteria"),
            find_personal=find_personal,
            tell=tell,
        )
    return Done({**done.as_json(), "version": done.version.label}, done.warnings)


def _rules(asked: Asked) -> FilterRules:
    request = asked.request
    clusters = request.get("clusters")
    return FilterRules(
        min_score=request.get("min_score"),
        max_chars=request.get("max_chars"),
        min_chars=request.get("min_chars"),
        drop_errors=request["drop_errors"],
        valid_json=request["valid_json"],
        clusters=None if clusters is None else tuple(clusters),
        where=request["where"],
        pii=request["pii"],
        duplicates=request["duplicates"],
    )


async def _run_filter(attempt: Attempt) -> Done:
    async with open_datasets(attempt) as store:
        reference = await store.to_curate(attempt.request["version"])
        done = await filter_rows(store, reference, _rules(attempt), find_personal=find_personal)
    return Done({**done.as_json(), "version": done.version.label}, done.warnings)


def _check_split(asked: Asked) -> None:
    asked.check_version()
    with about("test_fraction"):
        if (asked.request.get("test_fraction") is None) == (asked.request.get("test") is None):
            raise InputError("test_fraction", "and test: give one of them, how much goes to test.")


async def _run_split(attempt: Attempt) -> Done:
    request = attempt.request
    async with open_datasets(attempt) as store:
        done = await split_rows(
            store,
            await store.to_curate(request["version"]),
            test_fraction=request.get("test_fraction"),
            test=request.get("test"),
            seed=request["seed"],
        )
    return Done({**done.as_json(), "version": done.version.label})


async def _run_review(attempt: Attempt) -> Done:
    request = attempt.request
    async with open_datasets(attempt) as store:
        reference = await store.to_curate(request["version"])
        version, queued = await select_for_review(
            store, reference, limit=request.get("limit"), seed=request.get("seed")
        )
    waiting = sum(one.decision is None for one in queued)
    return Done({"version": version.label, "chosen": len(queued), "waiting": waiting})


STAGES = {
    JobKind.JUDGE: KindOfWork(_check_judge, _run_judge),
    JobKind.FILTER: KindOfWork(Asked.check_version, _run_filter),
    JobKind.SPLIT: KindOfWork(_check_split, _run_split),
    JobKind.REVIEW: KindOfWork(Asked.check_version, _run_review),
}
