"""The arbiter: the teacher that picks the best answer where the candidates do not agree.

It sees the different answers without their sources, in an order that the example's hash decides. Between two answers it
may be asked in both orders: a pick that follows the place and not the answer (GPT-4's did in a third of all pairs,
arXiv:2306.05685) is no verdict, and a person has to look.
"""

import hashlib
import string
from collections.abc import Sequence
from dataclasses import dataclass

from processing.answer_form import Answers, Form, canonical
from processing.candidates import Task
from processing.example import Example
from processing.ledger import Reason
from processing.prompt import ask
from processing.teachers import Teachers
from store.recorded.message import Json, Message, ToolCall
from store.recorded.message_form import to_openai

ARBITER_SCHEMA: dict[str, Json] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "best": {"type": "string"},
        "also_correct": {"type": "array", "items": {"type": "string"}},
        "none_correct": {"type": "boolean"},
    },
    "required": ["reason", "best", "also_correct", "none_correct"],
}


@dataclass(frozen=True, slots=True)
class Pick:
    """What the arbiter says.

    Attributes:
        best: The answer it picks; None without a verdict.
        problem: Why there is no pick.
        reason: In its own words; None where it gave no verdict.
        correct: All answers it calls correct, the best one included, in canonical form.
    """

    best: Answers | None
    problem: Reason | None = None
    reason: str | None = None
    correct: frozenset[str] = frozenset()


async def arbitrate(example: Example, answers: Sequence[Answers], form: Form, teachers: Teachers, task: Task) -> Pick:
    """Have the teacher pick one of several answers.

    Raises:
        TeacherError: The run has to stop.
    """
    order = _shuffled(answers, example, form)
    first = await _ask(example, order, form, teachers, task)
    if len(order) != 2 or task.config.trace_processing.arbiter_orders == 1 or first.problem is Reason.NO_VERDICT:
        return first
    second = await _ask(example, order[::-1], form, teachers, task)
    if second.problem is Reason.NO_VERDICT or (first.best is None and second.best is None):
        return second
    both = first.correct & second.correct
    if first.best is not None and canonical(first.best, form) in both:
        return first
    if second.best is not None and canonical(second.best, form) in both:
        return second
    return Pick(None, Reason.ORDER_DECIDES, f"{first.reason} / {second.reason}")


async def _ask(example: Example, order: Sequence[Answers], form: Form, teachers: Teachers, task: Task) -> Pick:
    lettered = dict(zip(string.ascii_uppercase, order, strict=False))
    data: dict[str, Json] = {
        "conversation": [to_openai(message) for message in example.messages[: example.targets[0]]],
        "tools": list(form.tools),
        "response_format": example.response_format,
        "candidates": {
            letter: [{"content": message.content, "tool_calls": _calls(message.tool_calls)} for message in answers]
            for letter, answers in lettered.items()
        },
    }
    if len(example.targets) > 1:
        data["recorded_after"] = [to_openai(message) for message in _between(example)]
    verdict = await teachers.ask_json(
        task.config.trace_processing.teacher_model_name,
        "arbiter",
        ask("arbiter", data, job_description=task.text),
        ARBITER_SCHEMA,
        "tracemill_arbiter",
    )
    if verdict.value is None:
        return Pick(None, Reason.NO_VERDICT)
    reason = str(verdict.value["reason"])
    if verdict.value["none_correct"]:
        return Pick(None, Reason.NONE_CORRECT, reason)
    named = [str(verdict.value["best"]), *map(str, verdict.value["also_correct"])]
    best, *others = [lettered.get(name.strip().upper()) for name in named]
    if best is None:
        return Pick(None, Reason.NO_VERDICT, reason)
    return Pick(best, None, reason, frozenset(canonical(one, form) for one in (best, *others) if one is not None))


def _shuffled(usable: Sequence[Answers], example: Example, form: Form) -> list[Answers]:
    """The different answers, in an order that depends on the example and on what they say, not on who said it."""
    distinct = {canonical(answers, form): answers for answers in sorted(usable, key=repr, reverse=True)}
    return [
        distinct[text]
        for text in sorted(
            distinct, key=lambda text: hashlib.blake2b(f"{example.id}{text}".encode("utf-8", "surrogatepass")).digest()
        )
    ]


def _between(example: Example) -> Sequence[Message]:
    return [
        message
        for position, message in enumerate(example.messages)
        if position > example.targets[0] and position not in example.targets
    ]


def _calls(calls: Sequence[ToolCall]) -> list[Json]:
    return [{"name": call.name, "arguments": call.arguments} for call in calls]
