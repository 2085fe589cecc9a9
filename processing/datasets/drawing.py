"""One answer of a teacher to a prompt, drawn, corrected and checked as the candidates of a committee are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from processing.answer_form import Form
from processing.candidates import correction, fit
from processing.config import Config
from processing.datasets.prompt_file import PromptItem
from processing.repair import RepairError
from processing.sent_form import sent_messages
from processing.teachers import Teachers
from store.recorded.message import Json, Message

PURPOSE: Final = "generate"
DEFAULT_TEMPERATURE: Final = 0.7
MOST_SAMPLES: Final = 64
_RESTARTED: Final = 1000
"""Draws of restarts begin here, so that more samples never ask for an answer that a restart was given."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One answer, or why there is none.

    Attributes:
        number: Which draw, from 0.
        message: The answer; None without one.
        problem: Why there is none.
        attempts: Answers that were given for it, the refused ones included.
        call: The last call that was made for it.
    """

    number: int
    message: Message | None
    problem: str | None
    attempts: int
    call: bytes


def form_of(item: PromptItem, config: Config) -> Form:
    """Tell what kind of answer a prompt asks for."""
    wanted = item.response_format if isinstance(item.response_format, dict) else {}
    inner = wanted.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, dict) and wanted.get("type") == "json_schema" else None
    is_json = wanted.get("type") in ("json_object", "json_schema") or config.synthgen.output_is_json
    return Form(tuple(item.tools or ()), (), is_json, schema)


async def draw(teachers: Teachers, model: str, item: PromptItem, number: int, temperature: float) -> Drawn:
    """Let a teacher answer a prompt once; an answer that does not fit goes back to it, a bounded number of times.

    Args:
        teachers: Asks it.
        model: Its name in the configuration.
        item: The prompt.
        number: Which draw, from 0; each is another answer.
        temperature: Of the first try; restarts need one, or the model would only repeat itself.

    Raises:
        TeacherError: The run has to stop.
        BudgetError: Nothing more may be bought.
    """
    wanted = teachers.config.trace_processing
    attempts = 0
    for restart in range(wanted.max_restarts + 1):
        warmth = max(temperature, DEFAULT_TEMPERATURE) if restart else temperature
        drawn, is_misshapen = await _try(teachers, model, item, number + _RESTARTED * restart, warmth)
        attempts += drawn.attempts
        if not is_misshapen:
            break
    return replace(drawn, number=number, attempts=attempts)


async def _try(teachers: Teachers, model: str, item: PromptItem, draw: int, temperature: float) -> tuple[Drawn, bool]:
    """Ask once, and correct what does not fit; tell whether it was the form of the answers that was wrong."""
    form = form_of(item, teachers.config)
    messages: Sequence[dict[str, Json]] = sent_messages(item.messages)
    parameters: dict[str, Json] = {"tools": item.tools, "response_format": item.response_format}
    most = teachers.config.trace_processing.max_correction_steps + 1
    for attempt in range(1, most + 1):
        given = await teachers.ask(model, PURPOSE, messages, draw=draw, temperature=temperature, **parameters)
        if given.fault is not None:
            return Drawn(draw, None, given.problem, attempt - 1, given.key), False
        if given.finish_reason in ("length", "content_filter"):
            return Drawn(draw, None, given.finish_reason, attempt, given.key), False
        try:
            return Drawn(draw, _named(fit(given.message, form), item), None, attempt, given.key), False
        except RepairError as exc:
            problem = str(exc)
            messages = [*messages, *correction(given.message, problem)]
    return Drawn(draw, None, problem, most, given.key), True


def _named(message: Message, item: PromptItem) -> Message:
    """Name calls by their place, so that a drawn id never makes two answers differ."""
    at = len(item.messages)
    calls = tuple(replace(call, id=f"call_{at}_{number}") for number, call in enumerate(message.tool_calls))
    return Message("assistant", message.content, calls)
