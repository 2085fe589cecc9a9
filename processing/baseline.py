"""How good the base model is: its recorded answer is the prediction, the relabelled answer the reference."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from processing.answer_form import canonical
from processing.candidates import Task
from processing.example import Example
from processing.interval import Scored, interval
from processing.metrics import answer_text, classification_scores, mean_scores, score_reply
from processing.parallel import each
from processing.prediction_line import prediction_line
from processing.prompt import ask
from processing.relabel import Relabelled
from processing.teachers import Teachers
from store import json_text
from store.recorded.message import Json, Message
from store.recorded.message_form import text_of, to_openai

JUDGE = "llm-as-a-judge"
VERDICT_SCHEMA: dict[str, Json] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "verdict": {"enum": ["good", "bad"]}},
    "required": ["reason", "verdict"],
}


class Judging(StrEnum):
    """How an answer came to its judge's score. A closed list."""

    EQUAL = "equal"
    """The answer says what the reference says: good, and nobody is asked."""
    VERDICT = "verdict"
    UNPARSABLE = "unparsable"
    """The judge answered without one verdict that can be read: no score."""
    UNANSWERED = "unanswered"
    """The judge's server gave no answer: no score."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One recorded answer beside its reference.

    Attributes:
        row_id: The row it belongs to.
        conversation_id: Answers of one conversation are not independent.
        prompt: The messages before the answer.
        prediction: What the base model answered.
        reference: The label.
        scores: Metric to score; None where a metric cannot be computed.
        judging: How the judge's score came about; None where there is none to come.
        judge_call: The judge's call; None where the judge was not asked.
        columns: Message traces that go beside it.
    """

    row_id: str
    conversation_id: str
    prompt: tuple[Message, ...]
    prediction: Message
    reference: Message
    scores: Mapping[str, float | None]
    judging: Judging | None = None
    judge_call: bytes | None = None
    columns: Mapping[str, Json] = field(default_factory=dict)

    def as_json(self) -> dict[str, Json]:
        """The line of the predictions file."""
        said = prediction_line(self.prompt, self.reference, self.prediction)
        return {"row_id": self.row_id, **said, **self.scores, **self.columns}


@dataclass(frozen=True, slots=True)
class Performance:
    """Scores of the base model over one set of answers.

    Attributes:
        scores: Metric to mean; for classification also class to precision, recall, f1-score and support.
        intervals: Metric to its 95 % interval, drawn over conversations, with what could not be computed.
        rows: Answers scored.
        conversations: Conversations they come from.
        test_set_hash: Names the questions and references; scores over different hashes must not be compared.
        judge: How many answers the judge was asked about, and of how many it gave no verdict; None without a judge.
    """

    scores: Mapping[str, Json]
    intervals: Mapping[str, Json]
    rows: int
    conversations: int
    test_set_hash: str
    judge: Mapping[str, int] | None = None

    def as_json(self) -> dict[str, Json]:
        """For the report."""
        return {
            "scores": self.scores,
            "intervals": self.intervals,
            "rows": self.rows,
            "conversations": self.conversations,
            "test_set_hash": self.test_set_hash,
            "judge": self.judge,
        }


async def predict(
    recorded: Sequence[Example],
    relabelled: Sequence[Relabelled],
    teachers: Teachers,
    task: Task,
    *,
    done: Callable[[int], None] = lambda _: None,
) -> list[Prediction]:
    """Score every recorded answer that has a reference.

    Args:
        recorded: The examples as they were recorded.
        relabelled: What became of them, in the same order; those without a label are passed over.
        teachers: For the judge.
        task: The task.
        done: Told how many are scored.

    Raises:
        TeacherError: The run has to stop.
    """
    pairs = [
        (before, after.example, target)
        for before, after in zip(recorded, relabelled, strict=True)
        if after.problem is None
        for target in _scored_targets(after.example, task)
    ]
    finished = 0

    async def score_pair(pair: tuple[Example, Example, int]) -> Prediction:
        nonlocal finished
        before, after, target = pair
        prediction, reference = before.messages[target], after.messages[target]
        tools = list(task.form(before).tools)
        scores = score_reply(prediction, reference, task=task.config.base.task, tools=tools)
        judged = Judged(None)
        if task.config.base.task != "classification":
            judged = await judge_answer(before, target, reference, teachers, task)
            scores[JUDGE] = judged.score
        finished += 1
        done(finished)
        prompt = before.messages[:target]
        return Prediction(
            before.id, before.conversation_id, prompt, prediction, reference, scores, judged.judging, judged.call
        )

    return await each(pairs, score_pair, parallel=task.config.lanes)


def performance(predictions: Sequence[Prediction], task: Task) -> Performance | None:
    """Sum up predictions; None when there are none."""
    if not predictions:
        return None
    scores: dict[str, Json] = dict(mean_scores([prediction.scores for prediction in predictions]))
    if task.config.base.task == "classification":
        classes = task.description.classes_description or {}
        scores = dict(
            classification_scores(
                ((text_of(one.prediction), text_of(one.reference)) for one in predictions), list(classes)
            )
        )
    names = list(dict.fromkeys(name for prediction in predictions for name in prediction.scores))
    seed = task.config.base.random_seed
    intervals = {
        name: interval((Scored(one.conversation_id, one.scores.get(name)) for one in predictions), seed=seed)._asdict()
        for name in names
    }
    conversations = len({prediction.conversation_id for prediction in predictions})
    judge = judge_counts([one.judging for one in predictions])
    set_hash = _set_hash(predictions)
    return Performance(_rounded(scores), _rounded(intervals), len(predictions), conversations, set_hash, judge)


def judge_counts(judgings: Sequence[Judging | None]) -> dict[str, int] | None:
    """Count how the judge did; None where nothing was to be judged."""
    known = Counter(one for one in judgings if one is not None)
    if not known:
        return None
    return {
        "asked": known.total() - known[Judging.EQUAL],
        "without_question": known[Judging.EQUAL],
        "unparsable": known[Judging.UNPARSABLE],
        "unanswered": known[Judging.UNANSWERED],
    }


class Judged(NamedTuple):
    """A score, how it came about, and the call that gave it."""

    score: float | None
    judging: Judging | None = None
    call: bytes | None = None


async def judge_answer(example: Example, target: int, reference: Message, teachers: Teachers, task: Task) -> Judged:
    """Ask whether the answer at a place of an example is good: 1 or 0, None for an answer that is no verdict.

    One that says the same as the reference is good, and nobody is asked.
    """
    prediction = example.messages[target]
    form = task.form(example)
    # The judge holds an answer against the reference; one that says the same needs nobody to tell.
    if canonical((prediction,), form) == canonical((reference,), form):
        return Judged(1.0, Judging.EQUAL)
    data = {
        "conversation": [to_openai(message) for message in example.messages[:target]],
        "reference": answer_text(reference),
        "answer": answer_text(prediction) or prediction.refusal or "",
    }
    return await judge(data, teachers, task)


async def judge(data: Mapping[str, Json], teachers: Teachers, task: Task) -> Judged:
    """Ask the judge about one answer.

    Args:
        data: `conversation`, `answer`, and `reference` where there is one.
        teachers: One of them is the judge.
        task: Says what to look at.

    Raises:
        TeacherError: The run has to stop.
    """
    verdict = await teachers.ask_json(
        task.config.evaluation.llm_as_a_judge_model_name,
        "judge",
        ask(
            "judge" if "reference" in data else "judge_alone",
            data,
            job_description=task.text,
            instructions=task.description.llm_as_a_judge_instructions or "",
        ),
        VERDICT_SCHEMA,
        "tracemill_judge",
    )
    if verdict.value is None:
        end = Judging.UNPARSABLE if verdict.answer.fault is None else Judging.UNANSWERED
        return Judged(None, end, verdict.answer.key)
    return Judged(float(verdict.value["verdict"] == "good"), Judging.VERDICT, verdict.answer.key)


def _scored_targets(example: Example, task: Task) -> Sequence[int]:
    return example.targets if task.config.evaluation.expand_tool_calling_turns else example.targets[-1:]


def _set_hash(predictions: Sequence[Prediction]) -> str:
    rows = sorted(
        json_text.dumps([[to_openai(message) for message in one.prompt], answer_text(one.reference)])
        for one in predictions
    )
    return hashlib.blake2b(b"\n".join(rows), digest_size=16).hexdigest()


def _rounded(value: Json) -> Json:
    if isinstance(value, float):
        return round(value, 6)
    return {name: _rounded(item) for name, item in value.items()} if isinstance(value, dict) else value
