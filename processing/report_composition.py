"""What a dataset is made of, as the report tells it: rows by part, agreement, votes, lengths, calls."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from processing.candidates import ORIGINAL, Task
from processing.filter import length_of
from processing.inputs import Inputs
from processing.relabel import Relabelled
from processing.split import Part
from processing.teachers import Teachers
from store.recorded.message import Json

BINS = 10
"""Of the distribution of agreement, from 0 to 1."""
_NAMES_SHOWN = 50


def composition(rows: Sequence[tuple[Part, Mapping[str, Json]]], inputs: Inputs, task: Task) -> dict[str, Json]:
    """Tell of train and test: rows, conversations, classes or tools, models, lengths; of your own test set, rows."""
    found: dict[str, Json] = {}
    for part in (Part.TRAIN, Part.TEST):
        if part is Part.TEST and inputs.test is not None:
            found[str(part)] = {"rows": len(inputs.test.lines), "is_own_file": True}
        else:
            found[str(part)] = _part([row for of, row in rows if of is part], task)
    lengths = [length_of(conversation.messages) for conversation in inputs.intake.conversations]
    limit = task.config.synthgen.validation_max_total_length
    over = sum(length > limit for length in lengths)
    found["conversations_read"] = {"characters": quantiles(lengths), "limit": limit, "longer_than_limit": over}
    return found


def agreement_counts(relabelled: Sequence[Relabelled]) -> dict[str, Json]:
    """How often the candidates agreed how far: counts from 0 to 1 in equal steps, 1 in the last."""
    counts = [0] * BINS
    known = [one.agreement for one in relabelled if one.agreement is not None]
    for agreement in known:
        counts[min(int(agreement * BINS + 1e-9), BINS - 1)] += 1
    return {"counts": counts, "compared": len(known), "not_compared": len(relabelled) - len(known)}


def committee_counts(rows: Sequence[tuple[Part, Mapping[str, Json]]]) -> dict[str, Json]:
    """How often each candidate's answer of the kept rows says what the label says, and how often it gave none."""
    found: dict[str, dict[str, int]] = {}
    for _, row in rows:
        for vote in row["metadata"]["votes"]:
            name = "recorded answer" if vote["source"] == ORIGINAL else vote["source"]
            one = found.setdefault(name, {"agrees": 0, "differs": 0, "no_answer": 0, "corrections": 0})
            one["no_answer" if vote["agrees"] is None else "agrees" if vote["agrees"] else "differs"] += 1
            one["corrections"] += vote.get("corrections", 0)
    return dict(found)


def calls_by_model(teachers: Teachers) -> list[dict[str, Json]]:
    """What the answers behind the dataset cost, by purpose and model, those bought earlier included."""
    bills = teachers.bill_by_model()
    return [{"purpose": purpose, "model": model, **asdict(bill)} for (purpose, model), bill in bills.items()]


def quantiles(values: Iterable[int]) -> dict[str, int] | None:
    """The median, the value that nine of ten do not exceed, and the greatest; None without values."""
    ordered = sorted(values)
    if not ordered:
        return None
    last = len(ordered) - 1
    return {"p50": ordered[last // 2], "p90": ordered[-(-last * 9 // 10)], "max": ordered[-1]}


def _part(rows: Sequence[Mapping[str, Json]], task: Task) -> dict[str, Json]:
    found: dict[str, Json] = {
        "rows": len(rows),
        "conversations": len({row["metadata"]["conversation_id"] for row in rows}),
        "changed": sum(row["metadata"]["is_changed"] for row in rows),
        "with_tools": sum("tools" in row for row in rows),
        "original_models": _counted(row["metadata"]["original_model"] or "unknown" for row in rows),
        "messages": quantiles(len(row["messages"]) for row in rows),
        "characters": quantiles(_characters(row["messages"]) for row in rows),
    }
    if task.config.base.task == "classification":
        found["classes"] = _counted(str(row["response"]) for row in rows)
        found["classes_without_rows"] = sorted(set(task.description.classes_description or ()) - set(found["classes"]))
    called = _counted(name for row in rows for name in _called(row))
    if called or "tool-calling" in task.config.base.task:
        found["tools_called"] = called
    return found


def _called(row: Mapping[str, Json]) -> Iterable[str]:
    for target in row["metadata"]["targets"]:
        for call in row["messages"][target].get("tool_calls") or ():
            yield str(call["function"]["name"])


def _characters(messages: Sequence[Mapping[str, Json]]) -> int:
    return sum(len(content) if isinstance(content := message.get("content"), str) else 0 for message in messages)


def _counted(names: Iterable[str]) -> dict[str, int]:
    """Counts, the greatest first; of many names the rest as one."""
    counts = sorted(Counter(names).items(), key=lambda one: (-one[1], one[0]))
    rest = sum(count for _, count in counts[_NAMES_SHOWN:])
    return dict(counts[:_NAMES_SHOWN]) | ({f"{len(counts) - _NAMES_SHOWN} others": rest} if rest else {})
