"""Recorded answers that were right and wrong, side by side with their labels: what a person approves a dataset by."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from processing.answer import read_answer
from processing.baseline import JUDGE, Prediction
from processing.candidates import ORIGINAL, Candidate, Task
from processing.metrics import answer_text
from processing.relabel import Relabelled
from processing.repair import RepairError, find_json
from store.recorded.message import Json
from store.recorded.message_form import text_of
from store.work import WorkStore

SHOWN = 5
"""Examples of each kind."""
_TEXT_CHARS = 2000


class ScoredSet(NamedTuple):
    """Scored answers with what they were scored against.

    Attributes:
        name: `test` or `unfiltered_sample`.
        relabelled: By the example's id.
    """

    name: str
    predictions: Sequence[Prediction]
    relabelled: Mapping[str, Relabelled]


async def right_and_wrong(sets: Sequence[ScoredSet], task: Task, work: WorkStore) -> dict[str, list[Json]]:
    """Draw five right and five wrong recorded answers by their hash; from later sets what earlier ones lack.

    Right is what the judge calls good; without a judge, what equals the label.
    """
    chosen: dict[str, list[Json]] = {"right": [], "wrong": []}
    seen: set[str] = set()
    for scored in sets:
        for one in sorted(scored.predictions, key=_order):
            is_right = _is_right(one)
            side = chosen["right" if is_right else "wrong"]
            if is_right is None or len(side) >= SHOWN or _name(one) in seen:
                continue
            seen.add(_name(one))
            side.append(await _shown(one, scored, task, work))
    return chosen


def _is_right(one: Prediction) -> bool | None:
    score = one.scores[JUDGE] if JUDGE in one.scores else next(iter(one.scores.values()), None)
    return None if score is None else score == 1


def _name(one: Prediction) -> str:
    return f"{one.row_id} {len(one.prompt)}"


def _order(one: Prediction) -> bytes:
    return hashlib.blake2b(_name(one).encode(), digest_size=16).digest()


async def _shown(one: Prediction, scored: ScoredSet, task: Task, work: WorkStore) -> dict[str, Json]:
    found = scored.relabelled[one.row_id]
    said = [message for message in one.prompt if message.role == "user"]
    target = len(one.prompt)
    turn = found.example.turns.get(target)
    lineage = found.lineage(task.form(found.example))
    place = found.example.targets.index(target)
    return {
        "set": scored.name,
        "row_id": one.row_id,
        "source": found.example.source,
        "source_trace_id": None if turn is None else turn.trace_id,
        "original_model": None if turn is None else turn.model,
        "asked": _cut(text_of(said[-1])) if said else None,
        "messages_before": target,
        "recorded": _cut(answer_text(one.prediction) or one.prediction.refusal or ""),
        "label": _cut(answer_text(one.reference)),
        "scores": dict(one.scores),
        "judge_reason": await judge_reason(one.judge_call, work),
        "agreement": lineage["agreement"],
        "method": lineage["method"],
        "arbiter_reason": _cut(lineage["arbiter_reason"]),
        "votes": [_vote(vote, one, place) for vote, one in zip(lineage["votes"], found.candidates, strict=True)],
    }


async def judge_reason(call: bytes | None, work: WorkStore) -> str | None:
    """Read why the judge said what it said out of the call table; None where it was not asked or gave no reason."""
    kept = None if call is None else await work.call(call)
    if kept is None:
        return None
    answer = read_answer(kept)
    try:
        value = find_json(text_of(answer.message)).value
    except RepairError:
        return None
    reason = value.get("reason") if isinstance(value, dict) else None
    return _cut(reason) if isinstance(reason, str) else None


def _vote(vote: Mapping[str, Json], candidate: Candidate, place: int) -> dict[str, Json]:
    answers = candidate.answers or ()
    said = answer_text(answers[place]) if place < len(answers) else None
    source = "recorded answer" if candidate.source == ORIGINAL else candidate.source
    return {"source": source, "agrees": vote["agrees"], "problem": vote["problem"], "answer": _cut(said)}


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _TEXT_CHARS else f"{text[:_TEXT_CHARS]}…"
