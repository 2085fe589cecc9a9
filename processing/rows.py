"""An example as a row of the dataset, and the lines of what did not become one."""

from collections.abc import Mapping

from processing.candidates import Task
from processing.example import Conversation, Example
from processing.filter import Scores
from processing.ledger import End, Kind
from processing.metrics import answer_text
from processing.relabel import Relabelled
from store.recorded.message import Json, Turn
from store.recorded.message_form import text_of, to_openai

_UNKNOWN = Turn()


def row(recorded: Example, relabelled: Relabelled, part: str, scores: Scores | None, task: Task) -> dict[str, Json]:
    """Write one row.

    `messages` holds the whole, labels in place; `weight` is 1 on each assistant message to learn from and 0 on the
    others, as OpenAI's fine-tuning format has it. `row_id` names the recorded example, so a row keeps its id when
    another committee labels it. `prompt` and `response` are the plain view of the last label. `tools` are those that
    the committee was offered: the recorded ones, else those of the job description. In the metadata
    `source_trace_ids` and `original_responses` stand in the order of `targets`, null where nothing is known.
    """
    example = relabelled.example
    written: dict[str, Json] = {"row_id": recorded.id, "messages": _messages(example)}
    tools = list(task.form(example).tools)
    if tools:
        written["tools"] = tools
    if example.response_format is not None:
        written["response_format"] = example.response_format
    target = example.targets[-1]
    written["prompt"] = _last_user_text(example, target)
    written["response"] = answer_text(example.messages[target])
    written["metadata"] = _metadata(recorded, relabelled, part, scores, task)
    return written


def ended(kind: Kind, name: str, end: End, what: Conversation | Example) -> dict[str, Json]:
    """Write the line of a conversation or example that was dropped, failed or waits for review.

    That of an example tells the positions of its `targets`, the messages that were to be learned.
    """
    targets = {"targets": list(what.targets)} if isinstance(what, Example) else {}
    return {
        "kind": str(kind),
        "id": name,
        "source": what.source,
        "stage": str(end.stage),
        "reason": str(end.reason),
        "detail": dict(end.detail),
        "messages": [to_openai(message) for message in what.messages],
        "tools": what.tools,
        "response_format": what.response_format,
        **targets,
    }


def _messages(example: Example) -> list[Json]:
    written = []
    for position, message in enumerate(example.messages):
        fields = to_openai(message)
        if message.role == "assistant":
            fields["weight"] = int(position in example.targets)
        written.append(fields)
    return written


def _metadata(
    recorded: Example, relabelled: Relabelled, part: str, scores: Scores | None, task: Task
) -> Mapping[str, Json]:
    example = relabelled.example
    turns = [recorded.turns.get(target, _UNKNOWN) for target in example.targets]
    responses = [
        answer_text(message) or message.refusal for message in (recorded.messages[at] for at in example.targets)
    ]
    is_relabelled = task.config.trace_processing.relabel
    return {
        "split": part,
        "source": recorded.source,
        "source_trace_id": turns[-1].trace_id,
        "source_trace_ids": [turn.trace_id for turn in turns],
        "conversation_id": recorded.conversation_id,
        "group": recorded.group,
        "targets": list(example.targets),
        "relevance_score": None if scores is None else scores.relevance,
        "coherence_score": None if scores is None else scores.coherence,
        "original_model": turns[-1].model,
        "original_response": responses[-1],
        "original_responses": responses,
        "teacher_models": list(task.config.committee) if is_relabelled else [],
        "arbiter_model": task.config.trace_processing.teacher_model_name if relabelled.arbiter_reason else None,
        **relabelled.lineage(task.form(recorded)),
    }


def _last_user_text(example: Example, target: int) -> str | None:
    said = [text_of(message) for message in example.messages[:target] if message.role == "user"]
    return said[-1] if said else None
