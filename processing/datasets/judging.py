"""An LLM judge scores rows: helpfulness, relevance, format, and the criteria of the task.

Each row is asked about by itself: a hostile text can then speak for no other row, no verdict can land on a neighbour,
and the call table alone remembers every verdict: rows that come in later cost their own calls and nothing else.

How four scores of 1 to 5 become one in [0, 1]: each is brought to (score - 1) / 4, and the judge's score is the middle
between their mean and the lowest of them. A row is little better than its worst side, since that is learned too: one
side at 1 keeps an otherwise perfect row at 0.375, where a mean alone would give 0.75. So a threshold of 0.7 keeps
exactly the rows without a score below 4 (the least of these is 0.75, the best of the others 0.6875).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from processing.baseline import Judging
from processing.datasets.row_form import example_of
from processing.example import Example
from processing.model_family import family_of
from processing.parallel import each
from processing.prompt import ask
from processing.teachers import Teachers
from store.recorded.message import Json
from store.recorded.message_form import to_openai

PURPOSE: Final = "judge_row"
DIMENSIONS: Final = ("helpfulness", "relevance", "format", "criteria")
DEFAULT_JUDGE: Final = "openai/gpt-4o-mini"
"""A cheap model is enough to tell most bad rows from good ones."""
DEFAULT_THRESHOLD: Final = 0.7
"""Keeps the rows without a score below 4: see above."""
_LONG_FILE: Final = 1000
"""Characters of a data URL from which on it is an image or a file."""
_NO_TASK: Final = "Not described. Take it from the conversation itself: its system messages and what the user wants."
_NO_CRITERIA: Final = "Nothing."
_SCHEMA: Final[dict[str, Json]] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        **{name: {"type": "integer", "minimum": 1, "maximum": 5} for name in DIMENSIONS},
    },
    "required": ["reason", *DIMENSIONS],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class RowScore:
    """What the judge says of one row.

    Attributes:
        judge_score: In [0, 1], by the rule of this module; None without a verdict.
        scores: Each of `DIMENSIONS`, 1 to 5; empty without a verdict.
        reason: In the judge's words; None without a verdict.
        judging: `verdict`; `unparsable` where the answer has none that can be read, `unanswered` where none came.
        problem: Why there is no verdict, for a person.
        call: The call that said so.
    """

    judge_score: float | None
    scores: Mapping[str, int] = field(default_factory=dict)
    reason: str | None = None
    judging: Judging = Judging.VERDICT
    problem: str | None = None
    call: bytes | None = None


async def judge_rows(
    rows: Sequence[Mapping[str, Json]],
    model: str,
    teachers: Teachers,
    *,
    task: str | None = None,
    criteria: str | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> dict[str, RowScore]:
    """Let a model score rows; what was ever asked about the same content costs nothing.

    Args:
        rows: In the form of `processing.datasets.row_form`; neither their ids nor their metadata are shown.
        model: The judge's name in the configuration.
        teachers: Asks it.
        task: The task in words, as `JobDescription.as_text` gives it.
        criteria: What else to look at, in words.
        done: Told how many rows are through.

    Returns:
        Every row's id with its score; an answer that is no verdict is a `RowScore` without one, and never a number.

    Raises:
        RowFormError: One of them is no row.
        TeacherError: The run has to stop.
        BudgetError: So it has, since nothing more may be bought.
    """
    finished = 0

    async def judge_row(example: Example) -> RowScore:
        nonlocal finished
        found = await _ask(example, model, teachers, task, criteria)
        finished += 1
        done(finished)
        return found

    examples = [example_of(row) for row in rows]
    scores = await each(examples, judge_row, parallel=teachers.config.lanes)
    return {example.id: score for example, score in zip(examples, scores, strict=True)}


def judge_score(scores: Mapping[str, int]) -> float:
    """Make one score in [0, 1] of those of all `DIMENSIONS`: the middle between their mean and the lowest."""
    parts = [(scores[name] - 1) / 4 for name in DIMENSIONS]
    return round((sum(parts) / len(parts) + min(parts)) / 2, 6)


def question(example: Example, *, task: str | None, criteria: str | None) -> list[dict[str, Json]]:
    """Write the messages that ask about one row."""
    shown: dict[str, Json] = {
        "messages": [
            {"position": at, **_without_files(to_openai(message))} for at, message in enumerate(example.messages)
        ],
        "judged_positions": list(example.targets),
    }
    if example.tools:
        shown["tools"] = example.tools
    if example.response_format is not None:
        shown["response_format"] = example.response_format
    return ask(PURPOSE, shown, job_description=_said(task) or _NO_TASK, criteria=_said(criteria) or _NO_CRITERIA)


def family_warning(rows: Iterable[Mapping[str, Json]], model: str) -> str | None:
    """Say that the judge is kin to models that wrote the answers; None where it is not, or nobody knows who did."""
    family = family_of(model)
    kin: Counter[str] = Counter()
    total = 0
    for row in rows:
        total += 1
        kin.update({author for author in authors_of(row) if family_of(author) == family})
    if not kin:
        return None
    authors = ", ".join(f"{author} ({count:,})" for author, count in sorted(kin.items()))
    return (
        f"The judge {model} is of one family with models that wrote answers among these {total:,} rows: {authors}. "
        "A judge leans towards its kin: take one of another family, or look at more rows in review."
    )


def authors_of(row: Mapping[str, Json]) -> set[str]:
    """Name the models that wrote what is learned, as far as the row knows; a person's edit has none."""
    metadata = row.get("metadata") or {}
    if metadata.get("edited_by"):
        return set()
    named = [metadata.get("teacher_model"), *(metadata.get("teacher_models") or ())]
    found = {name for name in named if isinstance(name, str) and name}
    original = metadata.get("original_model")
    if not found and isinstance(original, str) and original:
        return {original}
    return found


async def _ask(example: Example, model: str, teachers: Teachers, task: str | None, criteria: str | None) -> RowScore:
    messages = question(example, task=task, criteria=criteria)
    verdict = await teachers.ask_json(model, PURPOSE, messages, _SCHEMA, "tracemill_judge_row")
    call = verdict.answer.key
    if verdict.value is None:
        judging = Judging.UNPARSABLE if verdict.answer.fault is None else Judging.UNANSWERED
        return RowScore(None, judging=judging, problem=verdict.problem, call=call)
    scores = {name: int(verdict.value[name]) for name in DIMENSIONS}
    return RowScore(judge_score(scores), scores, str(verdict.value["reason"]), call=call)


def _without_files(value: Json) -> Json:
    """Say of an image or file how long it is instead of spelling it out: as text nobody can judge it."""
    if isinstance(value, str):
        if len(value) > _LONG_FILE and value.startswith("data:"):
            return f"{value[: value.find(',') + 1][:100]}… ({len(value):,} characters, not shown)"
        return value
    if isinstance(value, list):
        return [_without_files(item) for item in value]
    return {name: _without_files(item) for name, item in value.items()} if isinstance(value, dict) else value


def _said(text: str | None) -> str:
    return (text or "").strip()
