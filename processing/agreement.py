"""Whether candidates agree, and what the label is when they do.

Labels are voted on, by weight where it is known how far each source can be trusted (`processing.reliability`); tool
calls by name and then argument by argument; JSON objects field by field; free text has no votes, so the candidate
closest to all others is taken (minimum Bayes risk over character 3-grams, arXiv:2310.01387).
The score in [0, 1] says how far the candidates agree; below the configured bound the caller asks an arbiter.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from processing.answer_form import (
    Answers,
    Form,
    canonical,
    gram_f,
    json_of,
    mean,
    normal_arguments,
    ordered_calls,
    overlap,
    similarity,
    sorted_keys,
)
from processing.reliability import decide
from processing.repair import RepairError, check
from store import json_text
from store.recorded.message import Json, Message, ToolCall

_NAMES_A_THING = re.compile(r"(?:^|_)(?:id|uuid|key)$|[a-z]I[dD]$")


class Method(StrEnum):
    """How a label was found. A closed list."""

    KEPT = "kept"
    """Nothing was relabelled."""
    UNANIMOUS = "unanimous"
    VOTE = "vote"
    ARGUMENTS = "arguments"
    FIELDS = "fields"
    MEDOID = "medoid"
    ARBITER = "arbiter"
    DEMONSTRATION = "demonstration"
    """Somebody said by feedback what the answer should have been, and nobody else was asked."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the candidates say together.

    Attributes:
        method: How it was found.
        score: How far they agree, in [0, 1].
        label: The answer to take when it is sure enough; None when only an arbiter can tell.
        confidence: How likely the label is right, in [0, 1], where candidates are weighed; else None.
    """

    method: Method
    score: float
    label: Answers | None
    confidence: float | None = None

    @property
    def sureness(self) -> float:
        """What is held against the bound below which an arbiter is asked; where all agree, none is needed."""
        return self.score if self.confidence is None or self.method is Method.UNANIMOUS else self.confidence


def agree(candidates: Sequence[Answers], form: Form, right: Sequence[float] = ()) -> Agreement:
    """Find what the candidates agree on; the result does not depend on their order.

    Args:
        candidates: Two or more, each with the same number of messages, each valid for the form.
        form: What kind of answer is asked for.
        right: How often each candidate's source is right, in their order; where it is known, labels are weighed by it.
    """
    if right and form.classes and not any(message.tool_calls for answers in candidates for message in answers):
        return _by_weight(candidates, form, right)
    candidates = sorted(candidates, key=lambda answers: canonical(answers, form))
    if len({canonical(answers, form) for answers in candidates}) == 1:
        return Agreement(Method.UNANIMOUS, 1.0, candidates[0])
    if len(candidates[0]) > 1:
        return _medoid(
            candidates, lambda one, two: mean([similarity(a, b, form) for a, b in zip(one, two, strict=True)])
        )
    messages = [answers[0] for answers in candidates]
    shapes = [tuple(sorted(call.name for call in message.tool_calls)) for message in messages]
    shape, votes = max(Counter(shapes).items(), key=lambda item: (item[1], item[0]))
    inside = [message for message, found in zip(messages, shapes, strict=True) if found == shape]
    share = votes / len(messages)
    if len(set(shape)) < len(shape):
        # Which call answers which cannot be told when a tool is called twice, so the calls are voted on as a whole.
        found = _by_vote(inside, form)
    elif shape:
        found = _by_arguments(inside, form)
    elif form.classes:
        found = _by_vote(inside, form)
    elif form.is_json and all(isinstance(json_of(message), dict) for message in inside):
        found = _by_fields(inside, form)
    else:
        found = _medoid([(message,) for message in inside], lambda one, two: similarity(one[0], two[0], form))
    return Agreement(found.method, found.score * share, found.label)


def _medoid(candidates: Sequence[Answers], alike: Callable[[Answers, Answers], float]) -> Agreement:
    scores = [
        mean([alike(one, two) for other, two in enumerate(candidates) if other != number])
        for number, one in enumerate(candidates)
    ]
    best = max(range(len(candidates)), key=lambda number: scores[number])
    # Of two different texts neither is the middle one.
    label = candidates[best] if len(candidates) > 2 else None
    return Agreement(Method.MEDOID, scores[best], label)


def _by_vote(messages: Sequence[Message], form: Form) -> Agreement:
    votes = Counter(canonical((message,), form) for message in messages)
    best, count = max(votes.items(), key=lambda item: (item[1], item[0]))
    label = next(message for message in messages if canonical((message,), form) == best)
    return Agreement(Method.VOTE, count / len(messages), (label,))


def _by_weight(candidates: Sequence[Answers], form: Form, right: Sequence[float]) -> Agreement:
    votes = {str(number): canonical(answers, form) for number, answers in enumerate(candidates)}
    decision = decide(votes, {str(number): share for number, share in enumerate(right)}, len(form.classes))
    named = [answers for answers, text in zip(candidates, votes.values(), strict=True) if text == decision.label]
    share = len(named) / len(candidates)
    method = Method.UNANIMOUS if share == 1 else Method.VOTE
    return Agreement(method, share, min(named, key=repr), decision.confidence)


def _by_fields(messages: Sequence[Message], form: Form) -> Agreement:
    values = [json_of(message) for message in messages]
    merged, score = _vote_by_key(values, form.schema)
    for message, value in zip(messages, values, strict=True):
        if value == merged:
            return Agreement(Method.FIELDS, score, (message,))
    if form.schema is not None:
        try:
            check(merged, form.schema)
        except RepairError:
            closest = max(messages, key=lambda message: overlap(json_of(message), merged))
            return Agreement(Method.FIELDS, score, (closest,))
    return Agreement(Method.FIELDS, score, (replace(messages[0], content=json_text.dumps(merged).decode()),))


def _by_arguments(messages: Sequence[Message], form: Form) -> Agreement:
    """Vote on every argument of every call; the messages call the same tools, as often."""
    columns = list(zip(*(ordered_calls(message) for message in messages), strict=True))
    merged: list[Json] = []
    scores: list[float] = []
    for calls in columns:
        values = [normal_arguments(call, form) for call in calls]
        value: Json
        if all(isinstance(value, dict) for value in values):
            value, score = _vote_by_key(values, form.parameters(calls[0].name))
        else:
            value, score = _winner(values, is_free=False)
        merged.append(value)
        scores.append(score)
    score = mean(scores)
    closest = max(
        messages,
        key=lambda message: sum(
            overlap(normal_arguments(call, form), value)
            for call, value in zip(ordered_calls(message), merged, strict=True)
        ),
    )
    found = [normal_arguments(call, form) for call in ordered_calls(closest)]
    if found == merged or not _all_fit(columns, merged, form):
        return Agreement(Method.ARGUMENTS, score, (closest,))
    calls = tuple(
        replace(call, arguments=json_text.dumps(value).decode())
        for call, value in zip(ordered_calls(closest), merged, strict=True)
    )
    return Agreement(Method.ARGUMENTS, score, (replace(closest, tool_calls=calls),))


def _all_fit(columns: Sequence[Sequence[ToolCall]], merged: Sequence[Json], form: Form) -> bool:
    for calls, value in zip(columns, merged, strict=True):
        try:
            check(value, form.parameters(calls[0].name) or {})
        except RepairError:
            return False
    return True


def _vote_by_key(values: Sequence[Mapping[str, Json]], schema: Json) -> tuple[dict[str, Json], float]:
    """Take for every key what most values say, absence included; return it with the mean share of the winners."""
    keys = list(dict.fromkeys(key for value in values for key in value))
    merged: dict[str, Json] = {}
    shares: list[float] = []
    for key in keys:
        present = [value[key] for value in values if key in value]
        if 2 * len(present) < len(values):
            shares.append(1 - len(present) / len(values))
            continue
        best, share = _winner(present, is_free=_is_free_text(schema, key) and any(map(_is_worded, present)))
        shares.append(share * len(present) / len(values))
        merged[key] = best
    return merged, mean(shares)


def _winner(values: Sequence[Json], *, is_free: bool) -> tuple[Json, float]:
    if is_free and all(isinstance(value, str) for value in values):
        scores = [mean([gram_f(value, other) for other in values]) for value in values]
        best = max(range(len(values)), key=lambda number: (scores[number], values[number]))
        return values[best], scores[best]
    texts = [json_text.dumps(sorted_keys(value)) for value in values]
    text, votes = max(Counter(texts).items(), key=lambda item: (item[1], item[0]))
    return values[texts.index(text)], votes / len(values)


def _is_worded(value: Json) -> bool:
    """Whether a text has more than one word: codes, names and labels are alike by letters and mean other things."""
    return isinstance(value, str) and len(value.split()) > 1


def _is_free_text(schema: Json, key: str) -> bool:
    """Whether a property is text of any wording: a string without enum, const, format or pattern."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    found = properties.get(key) if isinstance(properties, dict) else None
    if not isinstance(found, dict) or found.get("type") != "string" or _NAMES_A_THING.search(key):
        return False
    return not any(rule in found for rule in ("enum", "const", "format", "pattern"))
