"""Evaluating models on a frozen version: every model answers every row of a part, and what came of it is kept.

Answers go through the call table under the purpose `evaluate`: what was answered once costs nothing again, so a run
that was stopped goes on where it stopped, and one that is repeated gives the same numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from processing.answer import Fault
from processing.baseline import JUDGE
from processing.candidates import Task
from processing.config import Config
from processing.errors import InputError
from processing.evaluation.answering import TEMPERATURE, Contender
from processing.evaluation.asked import Asked, read_asked
from processing.evaluation.comparison import Comparison, compare
from processing.evaluation.cutoffs import Cutoff, check_numbers
from processing.evaluation.item import Item, label_of
from processing.evaluation.suite import AUTO, METRICS, Suite, check_metrics, choose_suite
from processing.evaluation.summary import summarise
from processing.job_description import JobDescription
from processing.model_family import family_of
from processing.parallel import each
from processing.progress import Progress, StageProgress, silent
from processing.prompt import prompt
from processing.teachers import Bill, Teachers
from store.datasets.evaluation import RECORDED, Evaluation, Prediction, evaluation_id
from store.datasets.evaluation_store import EvaluationStore
from store.recorded.message import Json

_NOT_DESCRIBED = "Nobody has described the task. Judge by the conversation and the reference."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be evaluated, and how.

    Attributes:
        reference: A frozen version, `NAME-v3`, or `NAME` for the newest frozen one.
        models: Names in the configuration.
        part: `test`, `train` (rows that are not split count as train) or `all`.
        suite: `classification`, `tool`, `text`, or `auto` to go by the task of the version and by its answers.
        metrics: Those that are wanted; none stands for all of the suite.
        judge: Name of the judging model; None judges nothing.
        has_recorded: Whether the recorded answers of the original model are a contender too.
        cutoffs: Bounds that the evaluations will be held against; they have to have these numbers.
        description: What the judge is told of the task; None for what the version's manifest says.
    """

    reference: str
    models: Sequence[str] = ()
    part: str = "test"
    suite: str = AUTO
    metrics: Sequence[str] = ()
    judge: str | None = None
    has_recorded: bool = False
    cutoffs: Sequence[Cutoff] = ()
    description: JobDescription | None = None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What came of it.

    Attributes:
        evaluations: One for each contender, in the order they were named.
        suite: The metrics' suite.
        metrics: The metrics that were asked for.
        warnings: What a reader has to know first.
        unfinished: Answers that servers failed to give in passing; running again asks for them.
        comparison: Of all contenders; None for one alone.
        bill: What all the answers cost by purpose, whenever they were bought: the models' and the judge's.
    """

    evaluations: tuple[Evaluation, ...]
    suite: Suite
    metrics: tuple[str, ...]
    warnings: tuple[str, ...]
    unfinished: int
    bill: Mapping[str, Bill] = field(default_factory=dict)
    comparison: Comparison | None = field(default=None)

    def as_json(self) -> dict[str, Json]:
        """For `--json` and the result of a job."""
        return {
            "suite": str(self.suite),
            "metrics": list(self.metrics),
            "evaluations": [one.as_json() for one in self.evaluations],
            "comparison": None if self.comparison is None else self.comparison.as_json(),
            "warnings": list(self.warnings),
            "unfinished": self.unfinished,
            "calls": {purpose: asdict(bill) for purpose, bill in self.bill.items()},
        }


class _Plan(NamedTuple):
    """What holds for every contender."""

    asked: Asked
    suite: Suite
    task: Task
    wanted: Wanted
    classes: tuple[str, ...]


async def evaluate(
    wanted: Wanted, store: EvaluationStore, teachers: Teachers, *, progress: Progress = silent
) -> Evaluated:
    """Have models answer the rows of a frozen version, score their answers and keep what came of it.

    A model's evaluation is kept as soon as it is whole; the next model's error takes nothing from it.

    Args:
        wanted: What is to be evaluated.
        store: Holds the version; takes the evaluations.
        teachers: The models, with the store as their call table; their budget bounds what is bought.
        progress: Is told how far each model is.

    Raises:
        DatasetError: There is no such version, or it is active; the message tells how to freeze it.
        UnknownMetricError: A metric is not one of the suite, or a bound is on a number that there will not be.
        InputError: There is nothing to ask, or what was asked for does not fit together.
        TeacherError: A model cannot be asked; what was paid for is kept, as it is after the next.
        BudgetError: Nothing more may be bought.
    """
    check_metrics(wanted.metrics)
    if not wanted.models and not wanted.has_recorded:
        raise InputError("--model", "is missing: name one model or more, or take --baseline recorded.")
    plan = await _plan(wanted, store, teachers.config)
    teachers.check([*wanted.models, *([wanted.judge] if wanted.judge else [])])
    contenders = [*((None,) if wanted.has_recorded else ()), *dict.fromkeys(wanted.models)]
    found = [await _evaluate_one(model, plan, store, teachers, progress) for model in contenders]
    evaluations = tuple(evaluation for evaluation, _ in found)
    unfinished = sum(one.failure == Fault.FAILING for _, predictions in found for one in predictions)
    return Evaluated(
        evaluations=evaluations,
        suite=plan.suite,
        metrics=tuple(wanted.metrics) or _computed(plan),
        warnings=tuple(_warnings(plan, evaluations)),
        unfinished=unfinished,
        bill=teachers.bill(),
        comparison=compare(found) if len(found) > 1 else None,
    )


async def _plan(wanted: Wanted, store: EvaluationStore, config: Config) -> _Plan:
    asked = await read_asked(store, wanted.reference, wanted.part, expands=config.evaluation.expand_tool_calling_turns)
    suite = choose_suite(wanted.suite, asked.items, asked.task)
    _check(wanted, suite)
    description = wanted.description or asked.description or JobDescription(task_description=_NOT_DESCRIBED)
    config = config.model_copy(
        update={
            "base": config.base.model_copy(update={"task": _judged_as(suite)}),
            "evaluation": config.evaluation.model_copy(
                update={"llm_as_a_judge_model_name": wanted.judge} if wanted.judge else {}
            ),
        }
    )
    classes = tuple(description.classes_description or ()) if suite is Suite.CLASSIFICATION else ()
    plan = _Plan(asked, suite, Task(config, description, description.as_text()), wanted, classes)
    check_numbers(wanted.cutoffs, _computed(plan), _scored_classes(plan))
    return plan


def _judged_as(suite: Suite) -> str:
    return "tool-calling-closed-book" if suite is Suite.TOOL else "chat-completion"


def _check(wanted: Wanted, suite: Suite) -> None:
    if suite is Suite.CLASSIFICATION and wanted.judge is not None:
        raise InputError(
            "--judge", "has nothing to judge: labels are right or wrong. Leave it out, or take --task text."
        )
    if JUDGE in wanted.metrics and wanted.judge is None:
        raise InputError("--metrics", f"names {JUDGE}, and nobody judges. Name the judge with --judge.")
    check_metrics(wanted.metrics, METRICS[suite])


def _computed(plan: _Plan) -> tuple[str, ...]:
    return tuple(name for name in METRICS[plan.suite] if name != JUDGE or plan.wanted.judge is not None)


def _scored_classes(plan: _Plan) -> list[str]:
    if plan.suite is not Suite.CLASSIFICATION:
        return []
    return list(dict.fromkeys([*plan.classes, *sorted(label_of(item.reference) for item in plan.asked.items)]))


async def _evaluate_one(
    model: str | None, plan: _Plan, store: EvaluationStore, teachers: Teachers, progress: Progress
) -> tuple[Evaluation, list[Prediction]]:
    contender = Contender(model, plan.suite, plan.task, plan.wanted.judge is not None)
    items = [item for item in plan.asked.items if model is not None or item.recorded is not None]
    if not items:
        raise InputError("--baseline recorded", f"no row of {plan.asked.version.label} holds its original answer.")
    done = 0

    def tell() -> None:
        counts = teachers.counts
        stage = f"evaluate {model or RECORDED}"
        progress(StageProgress(stage, done, len(items), counts.in_flight, counts.paid, counts.cached, counts.failed))

    async def predict(item: Item) -> Prediction:
        nonlocal done
        prediction = await contender.predict(item, teachers)
        done += 1
        tell()
        return prediction

    tell()
    predictions = await each(items, predict, parallel=teachers.config.lanes)
    summary = summarise(
        plan.asked.items, predictions, plan.suite, classes=plan.classes, seed=plan.task.config.base.random_seed
    )
    version, settings = plan.asked.version, _settings(model, plan, teachers)
    identity = RECORDED if model is None else teachers.identity(model)
    name = evaluation_id(version_hash=version.hash or "", part=plan.wanted.part, identity=identity, settings=settings)
    evaluation = Evaluation(
        evaluation_id=name,
        dataset=version.dataset,
        version=version.number,
        version_hash=version.hash or "",
        test_hash=plan.asked.test_hash,
        part=plan.wanted.part,
        model=model or RECORDED,
        identity=identity,
        settings=settings,
        **summary._asdict(),
    )
    return await store.add_evaluation(evaluation, predictions), predictions


def _settings(model: str | None, plan: _Plan, teachers: Teachers) -> dict[str, Json]:
    """What decides the numbers besides version, part and model."""
    settings: dict[str, Json] = {
        "suite": str(plan.suite),
        "expand_tool_calling_turns": plan.task.config.evaluation.expand_tool_calling_turns,
        "random_seed": plan.task.config.base.random_seed,
    }
    if model is not None:
        settings["request"] = {"temperature": TEMPERATURE, **teachers.question(model, []).where.extra_body}
    if plan.classes:
        settings["classes"] = list(plan.classes)
    if plan.wanted.judge is not None:
        settings["judge"] = {
            "model": plan.wanted.judge,
            "identity": teachers.identity(plan.wanted.judge),
            "prompt": prompt("judge").hash,
            "task": plan.task.text,
            "instructions": plan.task.description.llm_as_a_judge_instructions,
        }
    return settings


def _warnings(plan: _Plan, evaluations: Sequence[Evaluation]) -> list[str]:
    told = list(plan.asked.warnings)
    judge = plan.wanted.judge
    if judge is not None:
        kin = [one for one in plan.wanted.models if family_of(one) == family_of(judge)]
        if kin:
            told.append(
                f"The judge {judge} is of the same family as {', '.join(kin)}: judges lean towards their own kin."
            )
    for one in evaluations:
        failures = one.counts["failures"]
        if failures:
            reasons = ", ".join(f"{reason} {count}" for reason, count in failures.items())
            told.append(f"{one.model}: {sum(failures.values())} answers failed and count as wrong ({reasons}).")
        lost = (one.counts["judge"] or {}).get("unparsable", 0) + (one.counts["judge"] or {}).get("unanswered", 0)
        if lost:
            told.append(f"{one.model}: the judge gave no verdict on {lost} answers; they have no {JUDGE} score.")
        if one.counts["without_recorded_answer"]:
            told.append(f"{one.model}: {one.counts['without_recorded_answer']} answers are not known and not scored.")
    return told
