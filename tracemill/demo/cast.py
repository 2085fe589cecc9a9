"""The scripted models by name: how each speaks and how often it goes wrong."""

from dataclasses import dataclass
from typing import Any

from tracemill.demo import teachers
from tracemill.demo.answer_sheet import OPENINGS, right_reply
from tracemill.demo.mistakes import mistake_for, spoil


@dataclass(frozen=True)
class Actor:
    """One scripted model.

    Attributes:
        mistake_rate: Share of its replies that go wrong, in [0, 1].
        opening: Put before each text answer, so that good answers differ in wording as models do.
    """

    name: str
    mistake_rate: float
    opening: str = ""


BASE_MODEL = "bank-assistant-large"
COMMITTEE = ("teacher-a", "teacher-b", "teacher-c")
ARBITER = "teacher-arbiter"

CAST = {
    actor.name: actor
    for actor in (
        Actor(BASE_MODEL, mistake_rate=0.22),
        Actor("teacher-a", mistake_rate=0.03),
        Actor("teacher-b", mistake_rate=0.06, opening=OPENINGS[0]),
        Actor("teacher-c", mistake_rate=0.12),
        Actor(ARBITER, mistake_rate=0.0),
    )
}


def perform(actor: Actor, request: dict[str, Any]) -> dict[str, Any]:
    """Give an actor's assistant message to a chat completion request."""
    asked = teachers.answer(request)
    if asked is not None:
        return asked
    messages = request["messages"]
    reply = right_reply(messages, request.get("tools") or [], request.get("response_format"))
    if request.get("response_format"):
        return reply
    mistake = mistake_for(reply, rate=actor.mistake_rate, key=[actor.name, messages])
    if mistake is not None:
        return spoil(reply, mistake)
    if reply["content"]:
        reply["content"] = actor.opening + reply["content"]
    return reply
