"""Replaces assistant replies by what a committee of teachers agrees on.

Agreement first, an arbiter only on disagreement: the committee's answers and the recorded one, all anonymous, are
compared by `processing.agreement`; below the bound the teacher picks (`processing.arbiter`). Whatever happens, every
candidate stays with the row.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from processing.agreement import Method, agree
from processing.answer_form import Answers, Form, canonical, similarity
from processing.arbiter import arbitrate
from processing.candidates import ORIGINAL, Candidate, Task, answer, original
from processing.example import Example
from processing.ledger import Reason
from processing.reliability import estimate
from processing.teachers import Teachers
from store.recorded.message import Json
from store.recorded.message_form import to_openai

QUORUM = 2


@dataclass(frozen=True, slots=True)
class Relabelled:
    """What came of one example.

    Attributes:
        example: The example with its new labels; as it was when there are none.
        problem: None when it has a label; else why not.
        method: How the label was found; None without one.
        agreement: How far the candidates agreed, in [0, 1]; None when nothing was compared.
        confidence: How likely the voted label is right, in [0, 1]; None where votes were not weighed.
        right: Source to how often it is right, as votes were weighed; empty where they were not.
        candidates: All of them, the recorded answer included.
        is_arbitrated: Whether the arbiter was asked.
        arbiter_reason: The arbiter's words when it was asked.
        counterfactual_after: Position of a tool call that was changed, after which the conversation was cut.
        is_changed: Whether the label says something else than the recorded answer.
    """

    example: Example
    problem: Reason | None = None
    method: Method | None = None
    agreement: float | None = None
    confidence: float | None = None
    right: Mapping[str, float] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
    is_arbitrated: bool = False
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
            "confidence": None if self.confidence is None else round(self.confidence, 6),
            "method": None if self.method is None else str(self.method),
            "arbiter_reason": self.arbiter_reason,
            "is_changed": self.is_changed,
            "counterfactual_after_turn": self.counterfactual_after,
            "votes": [
                {**_vote(candidate, label, form, has_label=self.problem is None), **self._weight(candidate)}
                for candidate in self.candidates
            ],
        }

    def _weight(self, candidate: Candidate) -> dict[str, Json]:
        return {"reliability": self.right[candidate.source]} if candidate.source in self.right else {}


async def relabel(
    example: Example, teachers: Teachers, task: Task, right: Mapping[str, float] | None = None
) -> Relabelled:
    """Find the label of one example: `candidates_of` and `decide` in one.

    Raises:
        TeacherError: The run has to stop.
    """
    return await decide(example, await candidates_of(example, teachers, task), right or {}, teachers, task)


async def candidates_of(example: Example, teachers: Teachers, task: Task) -> tuple[Candidate, ...]:
    """Let the committee answer; the recorded answer stands last. Nobody is asked where the label is known already.

    Raises:
        TeacherError: The run has to stop.
    """
    wanted = task.config.trace_processing
    recorded = original(example, task.form(example))
    if not wanted.relabel or (wanted.use_demonstrations and _demonstrated(example)):
        return (recorded,)
    asked = await _ask_committee(example, teachers, task)
    return (*asked, recorded)


async def _ask_committee(example: Example, teachers: Teachers, task: Task) -> list[Candidate]:
    """Ask all members at once; when the run has to stop, the answers under way are still waited for and kept."""
    asked = (answer(teachers, model, example, task) for model in task.config.committee)
    ends = await asyncio.gather(*asked, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    return [end for end in ends if isinstance(end, Candidate)]


def reliability_of(
    candidates: Sequence[Sequence[Candidate]], examples: Sequence[Example], task: Task
) -> dict[str, float]:
    """Estimate how often each source names the right class, from all examples; empty where votes are not weighed."""
    if not task.is_weighed:
        return {}
    votes = []
    for example, found in zip(examples, candidates, strict=True):
        form = task.form(example)
        votes.append({one.source: canonical(one.answers, form) for one in found if one.answers is not None})
    return estimate(votes, len(task.description.classes_description or ()))


async def decide(
    example: Example, candidates: tuple[Candidate, ...], right: Mapping[str, float], teachers: Teachers, task: Task
) -> Relabelled:
    """Find the label among candidates.

    Args:
        example: What was asked.
        candidates: From `candidates_of`.
        right: Source to how often it is right; empty counts all alike.
        teachers: For the arbiter.
        task: The task.

    Raises:
        TeacherError: The run has to stop.
    """
    form = task.form(example)
    wanted = task.config.trace_processing
    if wanted.use_demonstrations and (label := _demonstrated(example)):
        return _labelled(Relabelled(example, method=Method.DEMONSTRATION, candidates=candidates), label, form)
    if not wanted.relabel:
        return Relabelled(example, method=Method.KEPT)
    usable = [one for one in candidates if one.answers is not None]
    answers = [one.answers for one in usable if one.answers is not None]
    if not answers:
        return Relabelled(example, Reason.NO_CANDIDATE, candidates=candidates)
    if len(answers) < QUORUM:
        return Relabelled(example, Reason.NO_QUORUM, candidates=candidates)
    known = {one.source: right[one.source] for one in usable if one.source in right}
    found = agree(answers, form, list(known.values()) if len(known) == len(usable) else ())
    base = Relabelled(
        example,
        method=found.method,
        agreement=found.score,
        confidence=found.confidence,
        right=known,
        candidates=candidates,
    )
    if found.label is not None and found.sureness >= wanted.min_agreement:
        return _labelled(base, found.label, form)
    pick = await arbitrate(example, answers, form, teachers, task)
    base = replace(base, is_arbitrated=True, arbiter_reason=pick.reason)
    if pick.best is None:
        return replace(base, problem=pick.problem, method=None)
    return _labelled(replace(base, method=Method.ARBITER), pick.best, form)


def _demonstrated(example: Example) -> Answers | None:
    """Give the label that people wrote; None where any of its replies has none."""
    turns = [example.turns.get(target) for target in example.targets]
    found = [turn.demonstration for turn in turns if turn is not None and turn.demonstration is not None]
    return tuple(found) if len(found) == len(turns) else None


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
