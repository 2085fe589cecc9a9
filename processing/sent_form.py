"""Recorded messages as they are sent to a model again: only the fields that every server knows."""

from collections.abc import Sequence

from store.recorded.message import Json, Message


def sent_messages(messages: Sequence[Message]) -> list[dict[str, Json]]:
    """Write the messages before an answer so that a model can be asked for it."""
    sent = [as_sent(message, position) for position, message in enumerate(messages)]
    _pair(sent)
    return sent


def as_sent(message: Message, position: int) -> dict[str, Json]:
    """Only the fields that every server knows; a call without an id gets one, since servers ask for it."""
    sent: dict[str, Json] = {"role": message.role, "content": message.content}
    if message.name is not None:
        sent["name"] = message.name
    if message.tool_calls:
        sent["tool_calls"] = [
            {
                "id": call.id or f"call_{position}_{number}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for number, call in enumerate(message.tool_calls)
        ]
    if message.tool_call_id is not None:
        sent["tool_call_id"] = message.tool_call_id
    if message.role == "assistant" and message.refusal and not message.content:
        sent["content"] = message.refusal
    return sent


def _pair(sent: Sequence[dict[str, Json]]) -> None:
    """Give results without an id those of the open calls, in order."""
    waiting: list[str] = []
    for message in sent:
        if message.get("tool_calls"):
            waiting = [call["id"] for call in message["tool_calls"]]
        elif message["role"] == "tool":
            if message.get("tool_call_id") in waiting:
                waiting.remove(message["tool_call_id"])
            elif waiting and "tool_call_id" not in message:
                message["tool_call_id"] = waiting.pop(0)
