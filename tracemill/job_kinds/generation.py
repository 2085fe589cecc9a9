"""Jobs of the kind `generate`: prompts become versions."""

from pathlib import Path

from processing.datasets.choice import Keep
from processing.datasets.generate import Wanted, generate
from processing.datasets.prompt_file import Setting, read_prompts
from processing.progress import StageProgress
from tracemill.job_kinds.attempt import Asked, Attempt, Done, KindOfWork, about
from tracemill.job_kinds.job_datasets import open_datasets


def _check_generate(asked: Asked) -> None:
    asked.check_birth(add=asked.request["add"])
    wanted = _wanted(asked)
    with about("n_samples"):
        wanted.check()
    with about("prompts"):
        read_prompts(_prompts(asked), wanted.setting)
    asked.check_models([wanted.teacher, wanted.judge])


async def _run_generate(attempt: Attempt) -> Done:
    request = attempt.request
    async with open_datasets(attempt) as store:
        made = await store.version_made(request["dataset"])
        if made is not None:
            return Done({"version": made.label})
        async with attempt.teachers() as (teachers, progress):
            counts = teachers.counts

            def tell(stage: str, done: int, total: int) -> None:
                calls = (counts.in_flight, counts.paid, counts.cached, counts.failed)
                progress(StageProgress(stage, done, total, *calls))

            report = await generate(
                _prompts(attempt),
                request["dataset"],
                store,
                teachers,
                _wanted(attempt),
                add=request["add"],
                note=request.get("note"),
                tell=tell,
            )
    return Done(report.as_json(), report.warnings)


def _prompts(asked: Asked) -> Path:
    return next(asked.folder.prompts.iterdir())


def _wanted(asked: Asked) -> Wanted:
    request = asked.request
    given = {name: request[name] for name in ("threshold", "temperature", "task", "criteria") if name in request}
    setting = Setting(request.get("system"), request.get("tools"), request.get("response_format"))
    return Wanted(
        request["teacher"],
        request["judge"],
        n_samples=request["n_samples"],
        keep=Keep(request["keep"]),
        setting=setting,
        **given,
    )


GENERATE = KindOfWork(_check_generate, _run_generate)
