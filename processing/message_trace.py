"""Message traces of our own calls: what a teacher or judge was sent and said, beside the row it decided.

Nothing is kept for them while a run goes on: every call stands whole in the call table, corrections and their error
messages included, and is read from there. So traces may be asked for later, and cost no call.
"""

from typing import Any

from processing.answer import read_answer
from processing.trace_kind import MessageTraces, Step, TraceKind
from store import json_text
from store.recorded.message import Json
from store.recorded.message_form import to_openai
from store.work import WorkStore


class TraceColumns:
    """Reads the columns of message traces out of the call table.

    Args:
        work: The call table.
        wanted: Which traces.
        is_reasoning_extracted: Whether the last reasoning gets a column of its own.
    """

    def __init__(self, work: WorkStore, wanted: MessageTraces, *, is_reasoning_extracted: bool) -> None:
        self._work = work
        self._wanted = wanted
        self._is_reasoning_extracted = is_reasoning_extracted

    async def of(self, step: Step, key: bytes | None) -> dict[str, Json]:
        """Give the columns of one step for one row.

        Args:
            step: Names the columns.
            key: The last call of the step's conversation; None when nobody was asked, which makes the columns null.
        """
        kind: TraceKind = getattr(self._wanted, step.value)
        if kind is TraceKind.NONE and not self._is_reasoning_extracted:
            return {}
        messages = [] if key is None else await self._messages(key)
        columns: dict[str, Any] = {}
        if kind is not TraceKind.NONE:
            shown = messages if kind is TraceKind.ALL_MESSAGES else messages[-1:]
            columns[f"{step}__trace"] = shown or None
        if self._is_reasoning_extracted:
            columns[f"{step}__reasoning_content"] = _reasoning(messages)
        return columns

    async def _messages(self, key: bytes) -> list[dict[str, Json]]:
        """What was sent, in order, and what came back; only the former where the call gave no answer."""
        call = await self._work.call(key)
        if call is None:
            return []
        sent = list(json_text.loads(call.request)["messages"])
        answer = read_answer(call)
        return sent if answer.fault is not None else [*sent, to_openai(answer.message)]


def _reasoning(messages: list[dict[str, Json]]) -> str | None:
    """The reasoning of the last assistant message, without the blanks around it."""
    said = [message for message in messages if message["role"] == "assistant"]
    reasoning = said[-1].get("reasoning_content") if said else None
    return (reasoning.strip() or None) if isinstance(reasoning, str) else None
