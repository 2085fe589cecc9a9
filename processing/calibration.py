"""How far the judge can be trusted: it judges answers that people have judged already.

The rows are asked about exactly as answers of a run are. Agreement alone flatters a judge that calls everything good
where most answers are; Cohen's kappa (Educational and Psychological Measurement 20, 1960) takes off what chance gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from processing.baseline import Judged, Judging, judge
from processing.candidates import Task
from processing.errors import InputError
from processing.interval import Scored, interval
from processing.parallel import each
from processing.teachers import Teachers
from store.recorded.errors import LineError, MessageFormError
from store.recorded.line import load_line
from store.recorded.message import Json, Message
from store.recorded.message_form import read_messages, to_openai


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """One answer that a person has judged.

    Attributes:
        conversation: The messages before the answer.
        answer: The answer.
        reference: The correct answer; None where nobody wrote one.
        is_good: What the person says.
    """

    conversation: tuple[Message, ...]
    answer: str
    reference: str | None
    is_good: bool

    def question(self) -> dict[str, Json]:
        """What the judge is shown."""
        shown: dict[str, Json] = {
            "conversation": [to_openai(message) for message in self.conversation],
            "answer": self.answer,
        }
        return shown if self.reference is None else {**shown, "reference": self.reference}


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration set.

    Attributes:
        name: Its file name.
        rows: In the order of the file.
    """

    name: str
    rows: tuple[CalibrationRow, ...]


def load(path: Path) -> Calibration:
    """Read rows of `prompt` or `messages`, `answer`, maybe `reference`, and `label`: good or bad.

    Raises:
        InputError: The file cannot be read, is empty, or a row has another form; names the line.
    """
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise InputError(path.name, f"the calibration set cannot be read: {exc.strerror}.") from exc
    lines = enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
    rows = tuple(_row(line, number, path.name) for number, line in lines if line.strip())
    if not rows:
        raise InputError(path.name, "holds no rows. Leave evaluation.calibration out to go without.")
    return Calibration(path.name, rows)


async def calibrate(calibration: Calibration | None, teachers: Teachers, task: Task) -> dict[str, Json] | None:
    """Let the judge judge the set, and hold its verdicts against the people's; None without a set, or without a judge.

    Raises:
        TeacherError: The run has to stop.
    """
    if calibration is None or not task.config.has_judge:
        return None

    async def judge_row(row: CalibrationRow) -> Judged:
        return await judge(row.question(), teachers, task)

    judged = await each(calibration.rows, judge_row, parallel=task.config.lanes)
    pairs = [
        (one.score == 1.0, row.is_good)
        for one, row in zip(judged, calibration.rows, strict=True)
        if one.score is not None
    ]
    # Every row counts as a conversation of its own.
    agreement = interval(
        (Scored(str(number), float(said == true)) for number, (said, true) in enumerate(pairs)),
        seed=task.config.base.random_seed,
    )
    return {
        "file": task.config.evaluation.calibration or calibration.name,
        "judge": task.config.evaluation.llm_as_a_judge_model_name,
        "rows": len(calibration.rows),
        "unparsable": sum(one.judging is Judging.UNPARSABLE for one in judged),
        "unanswered": sum(one.judging is Judging.UNANSWERED for one in judged),
        "agreement": _rounded(agreement.mean),
        "low": _rounded(agreement.low),
        "high": _rounded(agreement.high),
        "kappa": _rounded(kappa(pairs)),
        "good_called_bad": sum(true and not said for said, true in pairs),
        "bad_called_good": sum(said and not true for said, true in pairs),
    }


def kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """Cohen's kappa of two judges: 1 always of one mind, 0 as chance would have it, None where nothing can be told.

    Nothing can be told without rows, and where both judges say the same of every row.
    """
    if not pairs:
        return None
    observed = sum(one == other for one, other in pairs) / len(pairs)
    good, other_good = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    by_chance = good * other_good + (1 - good) * (1 - other_good)
    return None if by_chance == 1 else (observed - by_chance) / (1 - by_chance)


def _row(line: bytes, number: int, name: str) -> CalibrationRow:
    try:
        row = load_line(line)
        if isinstance(row.get("messages"), list):
            conversation = read_messages(row["messages"]).messages
        elif isinstance(row.get("prompt"), str):
            conversation = (Message("user", row["prompt"]),)
        else:
            raise InputError(name, 'a calibration row needs "messages" or a "prompt".', line=number)
    except (LineError, MessageFormError) as exc:
        raise InputError(name, f"{exc}.", line=number) from exc
    answer, reference, label = row.get("answer"), row.get("reference"), row.get("label")
    if not isinstance(answer, str) or not (reference is None or isinstance(reference, str)):
        raise InputError(name, '"answer" has to be a text, and "reference" a text or left out.', line=number)
    if label not in ("good", "bad"):
        raise InputError(name, f'"label" is {label!r}; expected "good" or "bad".', line=number)
    return CalibrationRow(conversation, answer, reference, label == "good")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
