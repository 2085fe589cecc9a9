"""Mistakes the scripted models make on purpose, so that relabelling has something to repair."""

import json
import re
from enum import StrEnum
from typing import Any

from tracemill.demo.digest import chance, digest


class Mistake(StrEnum):
    """The ways a scripted model goes wrong."""

    WRONG_ARGUMENT = "wrong_argument"
    WRONG_FIGURE = "wrong_figure"
    UNHELPFUL = "unhelpful"
    CURT = "curt"


UNHELPFUL_REPLY = "I'm sorry, I can't help with that."
CURT_REPLY = "Just check the app."

_OTHER = {
    "checking": "savings",
    "savings": "checking",
    "credit card": "checking",
    "debit": "credit",
    "credit": "debit",
}
_FIGURE = re.compile(r"\d+(?=[.%])")


def mistake_for(message: dict[str, Any], *, rate: float, key: object) -> Mistake | None:
    """Choose the mistake to make with a reply, or none.

    Args:
        message: The good reply.
        rate: Share of replies that go wrong, in [0, 1].
        key: What the choice depends on, any JSON value; the same key always gives the same choice.
    """
    if chance("mistake", key) >= rate:
        return None
    if message.get("tool_calls"):
        return Mistake.WRONG_ARGUMENT
    kinds = [Mistake.UNHELPFUL, Mistake.CURT]
    if _FIGURE.search(message.get("content") or ""):
        kinds.append(Mistake.WRONG_FIGURE)
    return kinds[digest("kind", key) % len(kinds)]


def spoil(message: dict[str, Any], mistake: Mistake) -> dict[str, Any]:
    """Give a reply with one mistake in it; the reply passed in is not changed."""
    match mistake:
        case Mistake.WRONG_ARGUMENT:
            first, *others = message["tool_calls"]
            return {**message, "tool_calls": [_misdirected(first), *others]}
        case Mistake.WRONG_FIGURE:
            wrong = _FIGURE.sub(lambda found: str(int(found[0]) + 7), message["content"], count=1)
            return {**message, "content": wrong}
        case Mistake.UNHELPFUL:
            return {**message, "content": UNHELPFUL_REPLY}
        case Mistake.CURT:
            return {**message, "content": CURT_REPLY}


def _misdirected(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = json.loads(function["arguments"])
    if "amount" in arguments:
        arguments["amount"] *= 10
    else:
        name = next(iter(arguments))
        arguments[name] = _OTHER.get(arguments[name], arguments[name])
    return {**call, "function": {**function, "arguments": json.dumps(arguments)}}
