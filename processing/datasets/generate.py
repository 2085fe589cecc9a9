"""Datasets born from prompts: a teacher answers each of them several times, a judge scores, the best become rows.

All that is paid for stands in the call table, so a run that is killed and given again buys nothing twice, one with more
prompts pays for these, and another threshold costs nothing. The version appears whole or not at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from uuid import UUID

from processing.baseline import Judging
from processing.datasets.beginning import beginning_of, begun, note_addition
from processing.datasets.choice import (
    STAGE,
    Answered,
    GenerateReason,
    Keep,
    choose,
    drop_alike,
    drop_repeated,
    drop_too_long,
)
from processing.datasets.drawing import DEFAULT_TEMPERATURE, MOST_SAMPLES, Drawn, draw
from processing.datasets.generate_config import asked_with
from processing.datasets.generate_report import GenerateReport
from processing.datasets.judging import DEFAULT_THRESHOLD, PURPOSE, family_warning, judge_rows
from processing.datasets.kept_source import forget_unneeded, keep_prompts
from processing.datasets.prompt_file import PromptItem, Prompts, Setting, UnusedPrompt, read_prompts
from processing.datasets.row_form import RowFormError, example_of, row_of
from processing.datasets.storing import ROWS_AT_ONCE, stored
from processing.errors import InputError
from processing.message_trace import TraceColumns
from processing.metrics import answer_text
from processing.parallel import each
from processing.prompt import prompt
from processing.provenance import about
from processing.teachers import Teachers
from processing.trace_kind import Step
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Row, RowEnd, RowState
from store.datasets.version import Birth, Version
from store.recorded.message import Json
from store.recorded.message_form import to_openai

Tell = Callable[[str, int, int], None]
"""Told the stage, how far it is, and of how much."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a dataset is to be generated.

    Attributes:
        teacher: Name of the model that answers.
        judge: Name of the model that scores.
        n_samples: Answers to each prompt.
        threshold: Least score of the judge that makes a row, 0 to 1.
        temperature: Of the teacher; None for 0.7, and for 0 where one answer is wanted.
        keep: Whether the best answer to a prompt may become a row, or all of them.
        setting: What all prompts are asked with.
        task: The task in words, for the judge.
        criteria: What else the judge should look at.
    """

    teacher: str
    judge: str
    n_samples: int = 4
    threshold: float = DEFAULT_THRESHOLD
    temperature: float | None = None
    keep: Keep = Keep.BEST
    setting: Setting = field(default_factory=Setting)
    task: str | None = None
    criteria: str | None = None

    @property
    def warmth(self) -> float:
        """The temperature that is asked for."""
        if self.temperature is not None:
            return self.temperature
        return DEFAULT_TEMPERATURE if self.n_samples > 1 else 0

    def check(self) -> None:
        """See that it makes sense, before anything is paid.

        Raises:
            InputError: A number is out of its range.
        """
        if not 1 <= self.n_samples <= MOST_SAMPLES:
            raise InputError("--n-samples", f"is {self.n_samples}; expected 1 to {MOST_SAMPLES}.")
        if not 0 <= self.threshold <= 1:
            raise InputError("--threshold", f"{self.threshold:g} is no score; scores are from 0 to 1.")
        if not 0 <= self.warmth <= 2:
            raise InputError("--temperature", f"is {self.warmth:g}; expected 0 to 2.")
        if self.n_samples > 1 and not self.warmth:
            raise InputError("--temperature", "is 0, at which every sample says the same. Ask for one sample.")


async def generate(
    path: Path,
    name: str,
    store: DatasetStore,
    teachers: Teachers,
    wanted: Wanted,
    *,
    add: bool = False,
    note: str | None = None,
    tell: Tell = lambda _stage, _done, _total: None,
) -> GenerateReport:
    """Make a version of the best answers to the prompts of a file.

    Args:
        path: The prompts; see `prompt_file`.
        name: Of the dataset; `NAME-v1` insists that the version will be its first.
        store: Where it goes; its file holds the call table too.
        teachers: Asks teacher and judge.
        wanted: How.
        add: Add to the active version, or begin with the rows of the newest frozen one.
        note: A few words that lists show.
        tell: Told how far it is.

    Raises:
        InputError: The prompts cannot be read, a number makes no sense, or a model has no server.
        TeacherError: A model cannot be asked; what was paid is kept.
        BudgetError: Nothing more may be bought; what was paid is kept.
        DatasetError: The version cannot be made.
    """
    wanted.check()
    prompts = read_prompts(path, wanted.setting)
    teachers.check([wanted.teacher, wanted.judge])
    report = GenerateReport(
        len(prompts.items),
        wanted.n_samples,
        repeated_keys=prompts.repeated_keys.count,
        warnings=prompts.warnings(),
    )
    beginning = await beginning_of(name, store) if add else None
    await forget_unneeded(store)
    kept = keep_prompts(path, prompts, store.folder)
    manifest = begun(_manifest(prompts, wanted, teachers, not_kept=kept), beginning)
    async with store.birth(name, birth=Birth.GENERATE, manifest=manifest, note=note, add=add) as born:
        known = await _rows_of(beginning, store)
        answers = await answer_all(prompts.items, teachers, wanted, tell)
        await judge_all(answers, teachers, wanted, tell)
        _settle(answers, known, teachers, wanted)
        teachers.require_answers()
        await _add_columns(answers, teachers)
        rows = [*(_row(one) for one in answers), *(_unused_row(one, prompts) for one in prompts.unused)]
        for start in range(0, len(rows), ROWS_AT_ONCE):
            for row in await stored(rows[start : start + ROWS_AT_ONCE], born.add_rows):
                report.take(row)
        report.bill = teachers.bill()
        born.manifest = {**manifest, "generate": {**manifest["generate"], **report.counts()}, "calls": report.calls()}
    report.version = await note_addition(born, beginning, store)
    report.paid, report.cached = teachers.counts.paid, teachers.counts.cached
    report.warnings += _warnings(report, answers, teachers, wanted)
    return report


async def answer_all(items: Sequence[PromptItem], teachers: Teachers, wanted: Wanted, tell: Tell) -> list[Answered]:
    """Draw all answers, and drop those that are no use to a judge; the order is that of prompts and draws."""
    wishes = [(item, number) for item in items for number in range(wanted.n_samples)]
    done = 0
    tell("generate", 0, len(wishes))

    async def answer_one(wish: tuple[PromptItem, int]) -> Answered:
        nonlocal done
        item, number = wish
        with about(_source_traces(item)):
            drawn = await draw(teachers, wanted.teacher, item, number, wanted.warmth)
        done += 1
        tell("generate", done, len(wishes))
        return _answered(item, drawn, wanted)

    answers = await each(wishes, answer_one, parallel=teachers.config.lanes)
    synthgen = teachers.config.synthgen
    drop_too_long(answers, synthgen.validation_max_total_length)
    for mine in _by_prompt(answers, wanted):
        drop_repeated(mine, teachers.config, synthgen.validation_similarity_threshold)
    return answers


async def judge_all(answers: Sequence[Answered], teachers: Teachers, wanted: Wanted, tell: Tell) -> None:
    """Have the judge score the answers that are left."""
    left = [one for one in answers if one.end is None]
    tell("judge", 0, len(left))
    scores = await judge_rows(
        [one.content for one in left],
        wanted.judge,
        teachers,
        task=wanted.task,
        criteria=wanted.criteria,
        done=lambda done: tell("judge", done, len(left)),
    )
    for one in left:
        score = one.score = scores[one.row_id]
        one.content["metadata"] |= {
            "judge_score": score.judge_score,
            "judge_scores": dict(score.scores) or None,
            "judge_reason": score.reason,
            "judge_model": wanted.judge,
            "judge_call": None if score.call is None else score.call.hex(),
            "judge_problem": None if score.judging is Judging.VERDICT else str(score.judging),
        }


def _settle(
    answers: Sequence[Answered], known: Mapping[str, Mapping[str, Json]], teachers: Teachers, wanted: Wanted
) -> None:
    for mine in _by_prompt(answers, wanted):
        choose(mine, wanted.keep, wanted.threshold)
    for one in answers:
        if one.end is None and one.row_id in known:
            one.drop(GenerateReason.ALREADY_THERE)
    drop_alike(answers, list(known.values()), teachers.config.synthgen.validation_similarity_threshold)


def _by_prompt(answers: Sequence[Answered], wanted: Wanted) -> Iterable[Sequence[Answered]]:
    return (answers[start : start + wanted.n_samples] for start in range(0, len(answers), wanted.n_samples))


def _answered(item: PromptItem, drawn: Drawn, wanted: Wanted) -> Answered:
    asked = [to_openai(message) for message in item.messages]
    metadata: dict[str, Json] = {
        **item.metadata,
        "teacher_model": wanted.teacher,
        "judge_score": None,
        # Answers to one prompt never part in a split.
        "group": item.metadata.get("group") or item.id,
        "conversation_id": item.metadata.get("conversation_id") or item.id,
        "sample": drawn.number,
        "attempts": drawn.attempts,
        "generate_call": drawn.call.hex(),
    }
    problem = drawn.problem
    if drawn.message is not None:
        try:
            content = row_of(
                [*asked, to_openai(drawn.message)],
                tools=item.tools,
                response_format=item.response_format,
                metadata=metadata,
                targets=[len(asked)],
            )
            return Answered(item, drawn, content)
        except RowFormError as exc:
            problem = str(exc)
    failed = Answered(item, drawn, _unanswered(item, drawn, {**metadata, "problem": problem}))
    failed.fail(GenerateReason.NO_ANSWER)
    return failed


def _unanswered(item: PromptItem, drawn: Drawn, metadata: Mapping[str, Json]) -> dict[str, Json]:
    said = [answer_text(message) for message in item.messages if message.role == "user"]
    return {
        "row_id": f"{item.id}-{drawn.number}",
        "messages": [to_openai(message) for message in item.messages],
        "prompt": said[-1] if said else None,
        "response": None,
        "metadata": dict(metadata),
    }


def _row(one: Answered) -> Row:
    end = one.settled()
    content = {**one.content, **one.columns}
    if end.reason in (GenerateReason.DUPLICATE_ANSWER, GenerateReason.ALREADY_THERE):
        # Another row has this id.
        content["row_id"] = f"{one.row_id}-{one.drawn.number}"
    return Row(content, None, end)


def _unused_row(unused: UnusedPrompt, prompts: Prompts) -> Row:
    named = blake2b(f"{prompts.sha256}:{unused.place}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    content: dict[str, Json] = {"row_id": f"unused-{named}", "messages": [], "metadata": {}}
    detail: dict[str, Json] = {"place": unused.place, "problem": unused.detail}
    if unused.repeated_key is not None:
        detail["repeated_key"] = unused.repeated_key
    if unused.reason is None:
        return Row(content, None, RowEnd(RowState.DROPPED, STAGE, GenerateReason.DUPLICATE_PROMPT, detail))
    return Row(content, None, RowEnd(RowState.FAILED, STAGE, str(unused.reason), detail))


async def _rows_of(beginning: Version | None, store: DatasetStore) -> dict[str, Mapping[str, Json]]:
    """The kept rows that the version begins with."""
    if beginning is None:
        return {}
    rows: dict[str, Mapping[str, Json]] = {}
    async for row in store.rows(beginning, state=RowState.KEPT):
        try:
            example_of(row.content)
        except RowFormError:
            continue
        rows[row.row_id] = row.content
    return rows


async def _add_columns(answers: Sequence[Answered], teachers: Teachers) -> None:
    """Put message traces beside the rows; those that failed keep theirs."""
    config = teachers.config
    columns = TraceColumns(
        teachers.work, config.message_traces, is_reasoning_extracted=config.extract_reasoning_content
    )
    for one in answers:
        judged = None if one.score is None else one.score.call
        one.columns = {
            **await columns.of(Step.GENERATE, one.drawn.call),
            **await columns.of(Step.JUDGE, judged),
        }


def _manifest(prompts: Prompts, wanted: Wanted, teachers: Teachers, *, not_kept: str | None) -> dict[str, Json]:
    setting = wanted.setting
    source = {"name": prompts.name, "format": "prompts", "sha256": prompts.sha256}
    return {
        "source": source if not_kept is None else {**source, "not_kept": not_kept},
        "asked_with": asked_with(teachers, [wanted.teacher, wanted.judge]),
        "generate": {
            "teacher": wanted.teacher,
            "teacher_server": teachers.identity(wanted.teacher),
            "judge": wanted.judge,
            "judge_server": teachers.identity(wanted.judge),
            "judge_prompt": prompt(PURPOSE).hash,
            "n_samples": wanted.n_samples,
            "temperature": wanted.warmth,
            "threshold": wanted.threshold,
            "keep": str(wanted.keep),
            "system": setting.system,
            "tools": setting.tools,
            "response_format": setting.response_format,
            "task": wanted.task,
            "criteria": wanted.criteria,
            "max_correction_steps": teachers.config.trace_processing.max_correction_steps,
            "max_restarts": teachers.config.trace_processing.max_restarts,
            **teachers.config.synthgen.model_dump(mode="json"),
        },
    }


def _warnings(report: GenerateReport, answers: Sequence[Answered], teachers: Teachers, wanted: Wanted) -> list[str]:
    kin = family_warning((one.content for one in answers if one.score is not None), wanted.judge)
    warnings = [] if kin is None else [kin]
    if not report.count(RowState.KEPT):
        best = max((one.known_score for one in answers if one.known_score is not None), default=None)
        known = "no answer was judged" if best is None else f"the best score is {best:g}"
        warnings.append(f"No row is kept: {known}, and the threshold is {wanted.threshold:g}.")
    without = len({one.item.id for one in answers}) - len({one.item.id for one in answers if one.end is None})
    if without and report.count(RowState.KEPT):
        warnings.append(f"{without:,} of {report.prompts:,} prompts gave no row.")
    return warnings + teachers.problems()


def _source_traces(item: PromptItem) -> list[UUID]:
    try:
        return [UUID(str(item.metadata.get("source_trace_id")))]
    except ValueError:
        return []
