"""Ids for tool calls that were recorded without, for targets that refuse a call without one."""

from collections.abc import Sequence
from dataclasses import replace

from processing.exports.reason import CannotHoldError, LeftOut
from store.recorded.message import Message, ToolCall


def with_call_ids(messages: Sequence[Message]) -> list[Message]:
    """Give each call and each result an id; those that have one keep it.

    A made id says where the call stands, `call_2_0` for the first call of message 2, and nothing hangs on it. A result
    without an id gets that of the one call that is open.

    Raises:
        CannotHoldError: `no_call_id`, where a result could answer several calls, or none.
    """
    written: list[Message] = []
    waiting: list[str] = []
    for position, message in enumerate(messages):
        if message.tool_calls:
            calls = tuple(_with_id(call, position, index) for index, call in enumerate(message.tool_calls))
            waiting = [str(call.id) for call in calls]
            written.append(replace(message, tool_calls=calls))
        elif message.role == "tool":
            named = message.tool_call_id
            if named is None:
                if len(waiting) != 1:
                    raise CannotHoldError(LeftOut.NO_CALL_ID, f"message {position}")
                named = waiting[0]
            waiting = [each for each in waiting if each != named]
            written.append(replace(message, tool_call_id=named))
        else:
            written.append(message)
    return written


def _with_id(call: ToolCall, position: int, index: int) -> ToolCall:
    return call if call.id is not None else replace(call, id=f"call_{position}_{index}")
