"""Replaces assistant replies by what a committee of teachers agrees on.

Agreement first, an arbiter only on disagreement: the committee's answers and the recorded one, all anonymous, are
compared by `processing.agreement`; below the bound the teacher picks, seeing them in an order that the example's hash
decides. Whatever happens, every candidate stays with the row.
"""

import asyncio
import hashlib
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from processing.agreement import Method, agree
from processing.answer_form import Answers, Form, canonical, similarity
from processing.candidates import ORIGINAL, Candidate, Task, answer, original
from processing.example import Example
from processing.ledger import Reason
from processing.prompt import ask
from processing.teachers import Teachers
from store.recorded.message import Json, Message, ToolCall
from store.recorded.message_form import to_openai

QUORUM = 2
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
class Relabelled:
    """What came of one example.

    Attributes:
        example: The example with its new labels; as it was when there are none.
        problem: None when it has a label; else why not.
        method: How the label was found; None without one.
        agreement: How far the candidates agreed, in [0, 1]; None when nothing was compared.
        candidates: All of them, the recorded answer included.
        arbiter_reason: The arbiter's words when it was asked.
        counterfactual_after: Position of a tool call that was changed, after which the conversation was cut.
        is_changed: Whether the label says something else than the recorded answer.
    """

    example: Example
    problem: Reason | None = None
    method: Method | None = None
    agreement: float | None = None
    candidates: tuple[Candidate, ...] = ()
    arbiter_reason: str | None = None
    counterfactual_after: int | None = None
    is_changed: bool = False

    def deciding_call(self, form: Form) -> bytes | None:
        """The last call of the first model whose answer is the label; of the first that was asked without a label."""
        asked = [candidate for candidate in self.candidates if candidate.call is not None]
        if self.problem is not None:
            return asked[0].call if asked else None
        label = tuple(self.example.messages[target] for target in self.example.targets)
        wanted = canonical(label, form)
        for candidate in asked:
            if candidate.answers is not None and canonical(candidate.answers[: len(label)], form) == wanted:
                return candidate.call
        return None

    def lineage(self, form: Form) -> dict[str, Json]:
        """Everything above that belongs into a row's metadata, as JSON."""
        label = tuple(self.example.messages[target] for target in self.example.targets)
        return {
            "agreement": None if self.agreement is None else round(self.agreement, 6),
            "method": None if self.method is None else str(self.method),
            "arbiter_reason": self.arbiter_reason,
            "is_changed": self.is_changed,
            "counterfactual_after_turn": self.counterfactual_after,
            "votes": [_vote(candidate, label, form, has_label=self.problem is None) for candidate in self.candidates],
        }


async def relabel(example: Example, teachers: Teachers, task: Task) -> Relabelled:
    """Find the label of one example.

    Raises:
        TeacherError: The run has to stop.
    """
    if task.config.trace_processing.use_demonstrations and (label := _demonstrated(example)):
        form = task.form(example)
        base = Relabelled(example, method=Method.DEMONSTRATION, candidates=(original(example, form),))
        return _labelled(base, label, form)
    if not task.config.trace_processing.relabel:
        return Relabelled(example, method=Method.KEPT)
    form = task.form(example)
    asked = await asyncio.gather(*(answer(teachers, model, example, task) for model in task.config.committee))
    candidates = (*asked, original(example, form))
    usable = [candidate.answers for candidate in candidates if candidate.answers is not None]
    if not usable:
        return Relabelled(example, Reason.NO_CANDIDATE, candidates=candidates)
    if len(usable) < QUORUM:
        return Relabelled(example, Reason.NO_QUORUM, candidates=candidates)
    found = agree(usable, form)
    base = Relabelled(example, method=found.method, agreement=found.score, candidates=candidates)
    if found.label is not None and found.score >= task.config.trace_processing.min_agreement:
        return _labelled(base, found.label, form)
    return await _arbitrate(base, usable, form, teachers, task)


def _demonstrated(example: Example) -> Answers | None:
    """Give the label that people wrote; None where any of its replies has none."""
    turns = [example.turns.get(target) for target in example.targets]
    found = [turn.demonstration for turn in turns if turn is not None and turn.demonstration is not None]
    return tuple(found) if len(found) == len(turns) else None


async def _arbitrate(
    base: Relabelled, usable: Sequence[Answers], form: Form, teachers: Teachers, task: Task
) -> Relabelled:
    lettered = dict(zip(string.ascii_uppercase, _shuffled(usable, base.example, form), strict=False))
    data = {
        "conversation": [to_openai(message) for message in base.example.messages[: base.example.targets[0]]],
        "tools": list(form.tools),
        "response_format": base.example.response_format,
        "candidates": {
            letter: [{"content": message.content, "tool_calls": _calls(message.tool_calls)} for message in answers]
            for letter, answers in lettered.items()
        },
    }
    if len(base.example.targets) > 1:
        data["recorded_after"] = [to_openai(message) for message in _between(base.example)]
    verdict = await teachers.ask_json(
        task.config.trace_processing.teacher_model_name,
        "arbiter",
        ask("arbiter", data, job_description=task.text),
        ARBITER_SCHEMA,
        "tracemill_arbiter",
    )
    if verdict.value is None:
        return replace(base, problem=Reason.NO_VERDICT, method=None)
    reason = str(verdict.value["reason"])
    if verdict.value["none_correct"]:
        return replace(base, problem=Reason.NONE_CORRECT, method=None, arbiter_reason=reason)
    best = lettered.get(str(verdict.value["best"]).strip().upper())
    if best is None:
        return replace(base, problem=Reason.NO_VERDICT, method=None, arbiter_reason=reason)
    return _labelled(replace(base, method=Method.ARBITER, arbiter_reason=reason), best, form)


def _shuffled(usable: Sequence[Answers], example: Example, form: Form) -> list[Answers]:
    """The different answers, in an order that depends on the example and on what they say, not on who said it."""
    distinct = {canonical(answers, form): answers for answers in sorted(usable, key=repr, reverse=True)}
    return [
        distinct[text]
        for text in sorted(
            distinct, key=lambda text: hashlib.blake2b(f"{example.id}{text}".encode("utf-8", "surrogatepass")).digest()
        )
    ]


def _labelled(base: Relabelled, label: Answers, form: Form) -> Relabelled:
    example = base.example
    recorded = tuple(example.messages[target] for target in example.targets)
    messages = list(example.messages)
    for target, message in zip(example.targets, label, strict=True):
        messages[target] = message
    cut = _changed_call(example, label, form)
    end = len(messages) if cut is None else cut + 1
    new = replace(
        example,
        messages=tuple(messages[:end]),
        targets=tuple(target for target in example.targets if target < end),
        turns={position: turn for position, turn in example.turns.items() if position < end},
    )
    is_changed = canonical(label, form) != canonical(recorded, form)
    return replace(base, example=new, counterfactual_after=cut, is_changed=is_changed)


def _changed_call(example: Example, label: Answers, form: Form) -> int | None:
    """Find the first target whose calls changed although something follows: what follows answered the old calls."""
    for target, message in zip(example.targets, label, strict=True):
        recorded = example.messages[target]
        if not (recorded.tool_calls or message.tool_calls) or target == len(example.messages) - 1:
            continue
        calls = replace(message, content=None), replace(recorded, content=None)
        if similarity(*calls, form) < 1.0:
            return target
    return None


def _between(example: Example) -> Sequence[Message]:
    return [
        message
        for position, message in enumerate(example.messages)
        if position > example.targets[0] and position not in example.targets
    ]


def _vote(candidate: Candidate, label: Answers, form: Form, *, has_label: bool) -> Mapping[str, Json]:
    vote: dict[str, Json] = {"source": candidate.source, "problem": candidate.problem, "agrees": None, "answer": None}
    if candidate.source != ORIGINAL:
        vote["corrections"] = max(len(candidate.attempts) - 1, 0)
    if candidate.answers is None:
        vote["attempts"] = [
            {"message": to_openai(attempt.message), "problem": attempt.problem} for attempt in candidate.attempts
        ]
        return vote
    if has_label:
        vote["agrees"] = canonical(candidate.answers[: len(label)], form) == canonical(label, form)
    vote["answer"] = [to_openai(message) for message in candidate.answers]
    return vote


def _calls(calls: Sequence[ToolCall]) -> list[Json]:
    return [{"name": call.name, "arguments": call.arguments} for call in calls]
