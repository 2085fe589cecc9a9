"""One candidate: what a committee member answers, repaired and checked before anybody compares it.

What surrounds an answer is taken off; the answer itself is never mended here. One that does not fit goes back to its
model with a short error, a bounded number of times; every attempt is kept.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from processing.answer import Answer
from processing.answer_form import Answers, Form
from processing.config import Config
from processing.example import Example
from processing.job_description import JobDescription
from processing.prompt import ask, prompt
from processing.repair import MAX_ERROR_CHARS, RepairError, check, find_json
from processing.sent_form import as_sent, sent_messages
from processing.teachers import Teachers
from store.recorded.message import Json, Message, ToolCall
from store.recorded.message_form import read_call, text_of

ORIGINAL = "original"
_RESTART_TEMPERATURE = 0.7
"""At 0 a model would only say again what did not fit."""
REWRITE_SCHEMA: dict[str, Json] = {
    "type": "object",
    "properties": {
        "messages": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "position": {"type": "integer"},
                    "content": {"type": ["string", "null"]},
                    "tool_calls": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"name": {"type": "string"}, "arguments": {"type": "string"}},
                            "required": ["name", "arguments"],
                        },
                    },
                },
                "required": ["position", "content"],
            },
        }
    },
    "required": ["messages"],
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One answer of a candidate and what was wrong with it.

    Attributes:
        message: The model's message.
        problem: None for the answer that was taken.
    """

    message: Message
    problem: str | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer to an example.

    Attributes:
        source: The model's name, or `original`.
        answers: One message per target; None when no attempt was usable.
        attempts: Every answer of the model, in order; none for the original.
        problem: Why there are no answers.
        call: The last call that was made for it; None where nobody was asked.
        is_misshapen: Whether it is the form of the answers that was wrong, which another try may mend.
    """

    source: str
    answers: Answers | None
    attempts: tuple[Attempt, ...] = ()
    problem: str | None = None
    call: bytes | None = None
    is_misshapen: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """What every example of a run is asked by.

    Attributes:
        config: The configuration.
        description: The job description.
        text: Its text as prompts show it, maybe compressed.
    """

    config: Config
    description: JobDescription
    text: str

    @property
    def is_weighed(self) -> bool:
        """Whether votes count by how far each source can be trusted; only labels are voted on as a whole."""
        return self.config.trace_processing.weighted_votes and self.config.base.task == "classification"

    def form(self, example: Example) -> Form:
        """The kind of answer that an example asks for."""
        tools = example.tools or self.description.tools or ()
        classes: Sequence[str] = ()
        if self.config.base.task == "classification":
            classes = tuple(self.description.classes_description or ())
        wanted = example.response_format if isinstance(example.response_format, dict) else {}
        inner = wanted.get("json_schema")
        schema = inner.get("schema") if isinstance(inner, dict) else None
        is_json = wanted.get("type") in ("json_object", "json_schema") or self.config.synthgen.output_is_json
        return Form(tools, classes, is_json and not classes, schema if wanted.get("type") == "json_schema" else None)


def original(example: Example, form: Form) -> Candidate:
    """Make the recorded answer a candidate like any other; it fails like any other too."""
    try:
        return Candidate(ORIGINAL, tuple(fit(example.messages[target], form) for target in example.targets))
    except RepairError as exc:
        return Candidate(ORIGINAL, None, problem=str(exc))


async def answer(teachers: Teachers, model: str, example: Example, task: Task) -> Candidate:
    """Let one model answer an example; a model that cannot is a candidate with a problem.

    Raises:
        TeacherError: The run has to stop.
    """
    form = task.form(example)
    attempts: list[Attempt] = []
    for draw in range(task.config.trace_processing.max_restarts + 1):
        candidate = await _try(teachers, model, example, task, form, draw)
        attempts += candidate.attempts
        if not candidate.is_misshapen:
            break
    return replace(candidate, attempts=tuple(attempts))


async def _try(teachers: Teachers, model: str, example: Example, task: Task, form: Form, draw: int) -> Candidate:
    """Ask once, and correct what does not fit as often as may be."""
    is_whole = not task.config.is_single_turn
    messages = _rewrite_request(example, task) if is_whole else _request(example, task)
    parameters: dict[str, Json] = {"temperature": _RESTART_TEMPERATURE if draw else 0}
    if is_whole:
        name = "tracemill_rewrite"
        parameters["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": name, "schema": REWRITE_SCHEMA},
        }
    else:
        parameters |= {"tools": list(form.tools) or None, "response_format": example.response_format}
    attempts: list[Attempt] = []
    for _ in range(task.config.trace_processing.max_correction_steps + 1):
        given = await teachers.ask(model, "relabel", messages, draw=draw, **parameters)
        if given.fault is not None:
            return Candidate(model, None, tuple(attempts), given.problem, given.key)
        if given.finish_reason in ("length", "content_filter"):
            attempts.append(Attempt(given.message, str(given.finish_reason)))
            return Candidate(model, None, tuple(attempts), str(given.finish_reason), given.key)
        try:
            answers = _read_rewrite(given, example, form) if is_whole else (fit(given.message, form),)
        except RepairError as exc:
            attempts.append(Attempt(given.message, str(exc)))
            messages = [*messages, *correction(given.message, str(exc))]
        else:
            attempts.append(Attempt(given.message, None))
            return Candidate(model, _with_ids(answers, example), tuple(attempts), call=given.key)
    return Candidate(model, None, tuple(attempts), attempts[-1].problem, given.key, is_misshapen=True)


def fit(message: Message, form: Form) -> Message:
    """Bring one answer into the form that is asked for, without changing what it says.

    Raises:
        RepairError: It does not fit.
    """
    if message.refusal:
        raise RepairError("the answer is a refusal")
    for call in message.tool_calls:
        _check_call(call, form)
    text = text_of(message).strip()
    if message.tool_calls:
        return replace(message, content=message.content if text else None, reasoning=None, extra={})
    if form.classes:
        text = _label(text, form.classes)
    elif form.is_json:
        found = find_json(text)
        if form.schema is not None:
            check(found.value, form.schema)
        text = found.text
    elif isinstance(message.content, list) and not text:
        raise RepairError("the answer holds no text")
    if not text:
        raise RepairError("the answer is empty")
    return replace(message, content=text, reasoning=None, extra={})


def _check_call(call: ToolCall, form: Form) -> None:
    names = [str(tool.get("function", tool).get("name")) for tool in form.tools]
    if call.name not in names:
        raise RepairError(f'there is no tool "{call.name[:40]}"; there are: {", ".join(names) or "none"}')
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError) as exc:
        raise RepairError(f"arguments of {call.name} are not JSON: {exc}") from exc
    if not isinstance(arguments, dict):
        raise RepairError(f"arguments of {call.name} are not a JSON object")
    schema = form.parameters(call.name)
    if schema is not None:
        try:
            check(arguments, schema)
        except RepairError as exc:
            raise RepairError(f"arguments of {call.name} {exc}") from exc


def _label(text: str, classes: Sequence[str]) -> str:
    """Map an answer to the class it names: the same but for case and quotes, or the only one that begins so."""
    plain = text.strip().strip("\"'`.").strip().casefold()
    exact = [name for name in classes if name.casefold() == plain]
    if exact:
        return exact[0]
    begun = [name for name in classes if plain and name.casefold().startswith(plain)]
    if len(begun) != 1:
        raise RepairError(f"the answer is not one of the classes: {', '.join(classes)}")
    return begun[0]


def _request(example: Example, task: Task) -> list[dict[str, Json]]:
    """The conversation up to the target, under our guidance; one system message, since many servers take only one."""
    prefix = sent_messages(example.messages[: example.targets[-1]])
    guidance = prompt("relabel").fill(job_description=task.text)
    if prefix and prefix[0]["role"] in ("system", "developer") and isinstance(prefix[0]["content"], str):
        instructions = prompt("application").fill(instructions=prefix[0]["content"])
        guidance = f"{guidance}\n\n{instructions}"
        prefix = prefix[1:]
    return [{"role": "system", "content": guidance}, *prefix]


def _rewrite_request(example: Example, task: Task) -> list[dict[str, Json]]:
    shown = [{"position": position, **as_sent(message, position)} for position, message in enumerate(example.messages)]
    data = {"messages": shown, "tools": list(task.form(example).tools), "response_format": example.response_format}
    positions = ", ".join(str(target) for target in example.targets)
    return ask("rewrite", data, job_description=task.text, positions=positions)


def correction(message: Message, problem: str) -> list[dict[str, Json]]:
    """Give the bad answer and what was wrong with it, as the next two messages."""
    said = text_of(message)
    if message.tool_calls:
        # Shown as text: a call without a result may not stand in a conversation.
        calls = [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls]
        said = f"{said}\n{json.dumps(calls, ensure_ascii=False)}".strip()
    return [
        {"role": "assistant", "content": said or message.refusal or ""},
        {"role": "user", "content": problem[:MAX_ERROR_CHARS]},
    ]


def _read_rewrite(given: Answer, example: Example, form: Form) -> Answers:
    value = find_json(text_of(given.message)).value
    check(value, REWRITE_SCHEMA)
    by_position: Mapping[int, Json] = {item["position"]: item for item in value["messages"]}
    if sorted(by_position) != sorted(example.targets) or len(value["messages"]) != len(example.targets):
        raise RepairError(f"messages are wanted for exactly these positions: {list(example.targets)}")
    answers = []
    for target in example.targets:
        item = by_position[target]
        calls = tuple(read_call(call) for call in item.get("tool_calls") or ())
        try:
            answers.append(fit(Message("assistant", item["content"], calls), form))
        except RepairError as exc:
            raise RepairError(f"position {target}: {exc}") from exc
    return tuple(answers)


def _with_ids(answers: Answers, example: Example) -> Answers:
    """Name the calls as the recorded message named its own, so that a drawn id never makes two answers differ."""
    named: list[Message] = []
    for target, message in zip(example.targets, answers, strict=True):
        known = [call.id for call in example.messages[target].tool_calls]
        calls = tuple(
            replace(call, id=(known[number] if number < len(known) else None) or f"call_{target}_{number}")
            for number, call in enumerate(message.tool_calls)
        )
        named.append(Message("assistant", message.content, calls))
    return tuple(named)
