"""What is not worth learning from: by rule, and by the teacher's scores.

A filter returns a reason. Scores are stored before a threshold is applied to them, so moving a threshold asks nobody.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from processing.candidates import Task
from processing.convert import skip_reason
from processing.example import Conversation, Example
from processing.ledger import End, Reason, Stage, State
from processing.parallel import each
from processing.prompt import ask, prompt
from processing.provenance import about
from processing.repair import RepairError, check
from processing.teachers import Teachers
from store.call import content_key
from store.recorded.message import Json, Message
from store.recorded.message_form import text_of, to_openai

SCORES_SCHEMA: dict[str, Json] = {
    "type": "object",
    "properties": {
        "scores": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "reason": {"type": "string"},
                    "relevance": {"type": "integer", "minimum": 1, "maximum": 5},
                    "coherence": {"type": "integer", "minimum": 1, "maximum": 5},
                },
                "required": ["id", "relevance", "coherence"],
            },
        }
    },
    "required": ["scores"],
}
_SCORE_SCHEMA = SCORES_SCHEMA["properties"]["scores"]["items"]


@dataclass(frozen=True, slots=True)
class Scores:
    """What the teacher thinks of a conversation.

    Attributes:
        relevance: 1 to 5.
        coherence: 1 to 5.
        reason: In the teacher's words.
        call: The call that said so.
    """

    relevance: int
    coherence: int
    reason: str
    call: bytes | None = None


def rule_end(conversation: Conversation, task: Task) -> End | None:
    """Judge a conversation by rule; None when some assistant message of it may be learned.

    One example per assistant message: the conversation ends when none of them is fit. One example per conversation: it
    ends at the first message that would be a target and is not fit.
    """
    positions = [position for position, message in enumerate(conversation.messages) if message.role == "assistant"]
    if not positions:
        return End(State.DROPPED, Stage.RULES, Reason.NO_ASSISTANT_TURN)
    skipped = {
        position: Reason(skip) for position in positions if (skip := skip_reason(conversation, position)) is not None
    }
    targets = [position for position in positions if position not in skipped]
    if not targets:
        return End(State.DROPPED, Stage.RULES, skipped[positions[-1]])
    checked = targets if task.config.is_single_turn else targets[-1:]
    faults = [_fault(conversation.messages, targets, position, task) for position in checked]
    first = next((fault for fault in faults if fault is not None), None)
    if first is None or (task.config.is_single_turn and None in faults):
        return None
    return End(State.DROPPED, Stage.RULES, *first)


def example_rule_end(example: Example, task: Task) -> End | None:
    """Judge one example by the same rules; None when it may be learned."""
    fault = _fault(example.messages, example.targets, example.targets[-1], task)
    return None if fault is None else End(State.DROPPED, Stage.RULES, *fault)


def length_of(messages: Sequence[Message]) -> int:
    """Characters of the messages as a model reads and writes them: texts, names and arguments of calls."""
    return sum(
        len(text_of(message)) + sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
        for message in messages
    )


def _fault(
    messages: Sequence[Message], targets: Sequence[int], last: int, task: Task
) -> tuple[Reason, Mapping[str, Json]] | None:
    """The first rule that an example ending at `last` breaks."""
    limit = task.config.synthgen.validation_max_total_length
    length = length_of(messages[: last + 1])
    if length > limit:
        return Reason.TOO_LONG, {"characters": length, "limit": limit}
    for target in [last] if task.config.is_single_turn else targets:
        message = messages[target]
        if message.refusal:
            return Reason.REFUSAL, {"position": target}
        if not all(_is_object(call.arguments) for call in message.tool_calls):
            return Reason.INVALID_TOOL_ARGUMENTS, {"position": target}
    return None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


@dataclass(frozen=True, slots=True)
class Unscored:
    """A conversation without a usable score.

    Attributes:
        problem: Why, for a person.
        call: The last call that was to score it.
    """

    problem: str
    call: bytes | None = None


async def score(
    conversations: Sequence[Conversation],
    teachers: Teachers,
    task: Task,
    *,
    done: Callable[[int], None] = lambda _: None,
) -> dict[str, Scores | Unscored]:
    """Let the teacher score conversations in batches.

    A score is kept for the conversation and not for the batch: newcomers are asked about alone. A conversation that
    an answer leaves out, names twice or scores out of range is asked about again by itself, and shifts no other.

    Raises:
        TeacherError: The run has to stop.
    """
    keys = {conversation.id: _key(conversation, teachers, task) for conversation in conversations}
    known = await known_scores(conversations, teachers, task)
    for conversation in conversations:
        if conversation.id in known and (call := known[conversation.id].call) is not None:
            with about(conversation):
                await teachers.reuse(call)
    scores: dict[str, Scores | Unscored] = dict(known)
    done(len(scores))
    batches = batches_of([conversation for conversation in conversations if conversation.id not in scores], task)

    async def score_batch(batch: Sequence[Conversation]) -> None:
        found = await _ask(batch, keys, teachers, task)
        for name, one in found.items():
            if isinstance(one, Unscored) and len(batch) > 1:
                alone = [conversation for conversation in batch if conversation.id == name]
                one = (await _ask(alone, keys, teachers, task))[name]
            scores[name] = one
        done(len(scores))

    await each(batches, score_batch, parallel=task.config.lanes)
    return scores


async def known_scores(conversations: Sequence[Conversation], teachers: Teachers, task: Task) -> dict[str, Scores]:
    """Give the scores that were ever paid for, by conversation; costs nothing."""
    keys = {conversation.id: _key(conversation, teachers, task) for conversation in conversations}
    known = await teachers.work.verdicts(list(keys.values()))
    return {name: Scores(**known[key].value, call=known[key].call_key) for name, key in keys.items() if key in known}


def batches_of(conversations: Sequence[Conversation], task: Task) -> list[Sequence[Conversation]]:
    """Cut conversations into those that are asked about together."""
    size = task.config.trace_processing.relevance_filtering_batch_size
    return [conversations[start : start + size] for start in range(0, len(conversations), size)]


def relevance_question(batch: Sequence[Conversation], task: Task) -> list[dict[str, Json]]:
    """Write the messages that ask about one batch."""
    return ask("filter", [_shown(conversation) for conversation in batch], job_description=task.text)


def relevance_end(scores: Scores | Unscored, task: Task) -> End | None:
    """Hold scores against the thresholds; None when the conversation stays."""
    wanted = task.config.trace_processing
    if isinstance(scores, Unscored):
        return End(State.FAILED, Stage.RELEVANCE, Reason.UNSCORED, {"problem": scores.problem})
    detail = {"relevance": scores.relevance, "coherence": scores.coherence, "reason": scores.reason}
    if scores.relevance < wanted.min_relevance_score:
        return End(State.DROPPED, Stage.RELEVANCE, Reason.LOW_RELEVANCE, detail)
    if scores.coherence < wanted.min_coherence_score:
        return End(State.DROPPED, Stage.RELEVANCE, Reason.LOW_COHERENCE, detail)
    return None


async def _ask(
    batch: Sequence[Conversation], keys: Mapping[str, bytes], teachers: Teachers, task: Task
) -> dict[str, Scores | Unscored]:
    """Ask about one batch; what is scored without doubt is kept at once."""
    verdict = await teachers.ask_json(
        task.config.trace_processing.teacher_model_name,
        "filter",
        relevance_question(batch, task),
        SCORES_SCHEMA,
        "tracemill_relevance",
        is_checked=False,
    )
    found = _read_scores(verdict.value, {conversation.id for conversation in batch})
    if found:
        await teachers.work.add_verdicts(
            {
                keys[name]: {"relevance": one.relevance, "coherence": one.coherence, "reason": one.reason}
                for name, one in found.items()
            },
            verdict.answer.key,
        )
    problem = Unscored(
        verdict.problem or "the answer leaves it out, scores it twice or out of range", verdict.answer.key
    )
    scored = {name: replace(one, call=verdict.answer.key) for name, one in found.items()}
    return {conversation.id: scored.get(conversation.id, problem) for conversation in batch}


def _read_scores(value: Json, wanted: set[str]) -> dict[str, Scores]:
    items = value.get("scores") if isinstance(value, dict) else value
    found: dict[str, Scores] = {}
    doubtful: set[str] = set()
    for item in items if isinstance(items, list) else ():
        try:
            check(item, _SCORE_SCHEMA)
        except RepairError:
            continue
        name = item["id"]
        if name in found:
            doubtful.add(name)
        if name in wanted:
            found[name] = Scores(int(item["relevance"]), int(item["coherence"]), str(item.get("reason", "")))
    return {name: scores for name, scores in found.items() if name not in doubtful}


def _shown(conversation: Conversation) -> dict[str, Json]:
    tools = [tool.get("function", tool).get("name") for tool in conversation.tools or () if isinstance(tool, dict)]
    messages = [to_openai(message) for message in conversation.messages]
    return {"id": conversation.id, "messages": messages, "tools": tools}


def _key(conversation: Conversation, teachers: Teachers, task: Task) -> bytes:
    model = task.config.trace_processing.teacher_model_name
    return content_key("relevance", teachers.identity(model), prompt("filter").hash, task.text, _shown(conversation))
