"""How the scripted models answer the processor's own questions: relevance, arbitration, rewriting, judging.

Such a question ends with a user message that holds JSON between two equal lines, the fence; which question it is
shows in the schema its answer has to follow. The teachers know the right replies (`answer_sheet`), so they judge well.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracemill.demo import bank
from tracemill.demo.answer_sheet import right_reply, says_the_same
from tracemill.demo.bank import Intent
from tracemill.demo.mistakes import CURT_REPLY, UNHELPFUL_REPLY
from tracemill.demo.schema_answer import schema_of

_FENCE = "DATA-"


def answer(request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the reply to a question of the processor, None when the request is none of them."""
    fenced = _fenced(bank.text_of(request["messages"][-1]))
    if fenced is None:
        return None
    schema = schema_of(request.get("response_format"))
    if schema is None:
        # The one question without a schema asks for a shorter job description; this one is short enough.
        return {"role": "assistant", "content": str(fenced)}
    for field, reply in _QUESTIONS.items():
        if field in schema.get("properties", {}):
            return {"role": "assistant", "content": json.dumps(reply(fenced))}
    return None


def _fenced(text: str) -> Any:  # noqa: ANN401 - foreign JSON
    lines = text.strip().split("\n")
    if len(lines) < 3 or not lines[0].startswith(_FENCE) or lines[0] != lines[-1]:
        return None
    return json.loads("\n".join(lines[1:-1]))


def _scores(conversations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"scores": [{"id": one["id"], **_score(one["messages"])} for one in conversations]}


def _score(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    asked = [bank.intent_of(bank.text_of(message)) for message in messages if message["role"] == "user"]
    on_topic = [intent for intent in asked if intent not in {Intent.OFF_TOPIC, Intent.SMALL_TALK}]
    relevance = 1 if not on_topic else 4 if Intent.OFF_TOPIC in asked else 5
    replies = [bank.text_of(message) for message in messages if message["role"] == "assistant"]
    slips = sum(reply in {CURT_REPLY, UNHELPFUL_REPLY} for reply in replies)
    reason = f"{len(on_topic)} of {len(asked)} messages are about banking; {slips} replies do not help."
    return {"reason": reason, "relevance": relevance, "coherence": max(3, 5 - slips)}


def _arbitration(data: Mapping[str, Any]) -> dict[str, Any]:
    right = right_reply(data["conversation"], data["tools"], data["response_format"])
    correct = [letter for letter, said in data["candidates"].items() if says_the_same(said[0], right)]
    if not correct:
        best = next(iter(data["candidates"]))
        return {"reason": "No candidate is right.", "best": best, "also_correct": [], "none_correct": True}
    best, *others = correct
    return {
        "reason": f"{best} does what the customer asks for, with the right figures.",
        "best": best,
        "also_correct": others,
        "none_correct": False,
    }


def _rewritten(data: Mapping[str, Any]) -> dict[str, Any]:
    written = []
    messages: list[Mapping[str, Any]] = list(data["messages"])
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            right = right_reply(messages[:place], data["tools"], data["response_format"])
            calls = [dict(call["function"]) for call in right.get("tool_calls", ())]
            written.append({"position": message["position"], "content": right["content"], "tool_calls": calls})
    return {"messages": written}


def _judgement(data: Mapping[str, Any]) -> dict[str, Any]:
    is_good = says_the_same(_as_message(data["reference"]), _as_message(data["answer"]))
    reason = "It says what the reference says." if is_good else "It says something else than the reference."
    return {"reason": reason, "verdict": "good" if is_good else "bad"}


def _as_message(text: str) -> dict[str, Any]:
    """Read an answer that is written as one text: tool calls are `{"name", "arguments"}`, several an array."""
    try:
        value = json.loads(text)
    except ValueError:
        return {"content": text}
    calls = value if isinstance(value, list) else [value]
    if not all(isinstance(call, dict) and {"name", "arguments"} == call.keys() for call in calls):
        return {"content": text}
    return {"tool_calls": [{"name": call["name"], "arguments": json.dumps(call["arguments"])} for call in calls]}


_QUESTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "scores": _scores,
    "best": _arbitration,
    "messages": _rewritten,
    "verdict": _judgement,
}
"""A field of the answer's schema that no other question has, and who answers."""
