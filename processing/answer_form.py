"""What kind of answer an example asks for, and when two answers mean the same."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from store import json_text
from store.recorded.message import Json, Message, ToolCall
from store.recorded.message_form import text_of

Answers = tuple[Message, ...]
"""One candidate's messages, one per target of the example."""


@dataclass(frozen=True, slots=True)
class Form:
    """What kind of answer an example asks for.

    Attributes:
        tools: Tool definitions in OpenAI form; empty when there are none.
        classes: The labels to choose from; empty when the answer is no label.
        is_json: Whether the text is a JSON value.
        schema: The schema of that value, None when there is none.
    """

    tools: Sequence[Json] = ()
    classes: Sequence[str] = ()
    is_json: bool = False
    schema: Json | None = None

    def parameters(self, tool: str) -> Json | None:
        """The schema of a tool's arguments; None when the tool is unknown or has none."""
        for definition in self.tools:
            function = definition.get("function", definition)
            if isinstance(function, dict) and function.get("name") == tool:
                return function.get("parameters")
        return None


def canonical(answers: Answers, form: Form) -> str:
    """Write answers so that those that mean the same are equal texts: ids, key order, schema defaults do not count."""
    return json_text.dumps([_canonical(message, form) for message in answers]).decode()


def similarity(one: Message, two: Message, form: Form) -> float:
    """Tell how alike two answers are: 1 when they mean the same, 0 when they do different things."""
    if _canonical(one, form) == _canonical(two, form):
        return 1.0
    if bool(one.tool_calls) != bool(two.tool_calls):
        return 0.0
    if one.tool_calls:
        calls, others = ordered_calls(one), ordered_calls(two)
        if [call.name for call in calls] != [call.name for call in others]:
            return 0.0
        shares = [_same_share(a, b, form) for a, b in zip(calls, others, strict=True)]
        return mean(shares)
    return gram_f(text_of(one), text_of(two))


def gram_f(one: str, two: str) -> float:
    """Compare two texts by their character 3-grams: F1 of the two multisets, case and white space runs apart."""
    grams, others = _grams(one), _grams(two)
    if not grams or not others:
        return float(grams == others)
    shared = (grams & others).total()
    return 2 * shared / (grams.total() + others.total())


def normal_arguments(call: ToolCall, form: Form) -> Json:
    """The arguments with schema defaults filled in and null optionals left out; text when they are not JSON."""
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return call.arguments
    schema = form.parameters(call.name)
    if not isinstance(arguments, dict) or not isinstance(schema, dict):
        return arguments
    properties = schema.get("properties")
    required = schema.get("required")
    required = required if isinstance(required, list) else []
    defaults = {
        name: definition["default"]
        for name, definition in (properties.items() if isinstance(properties, dict) else ())
        if isinstance(definition, dict) and "default" in definition
    }
    given = {name: value for name, value in arguments.items() if value is not None or name in required}
    return {**defaults, **given}


def _canonical(message: Message, form: Form) -> Json:
    calls = [[call.name, sorted_keys(normal_arguments(call, form))] for call in ordered_calls(message)]
    text = text_of(message).strip()
    if form.is_json and not calls:
        return [sorted_keys(json_of(message)), calls]
    return [text.casefold() if form.classes else text, calls]


def json_of(message: Message) -> Json:
    """The value of an answer that is JSON; its text when it is not."""
    try:
        return json.loads(text_of(message))
    except (ValueError, RecursionError):
        return text_of(message)


def ordered_calls(message: Message) -> list[ToolCall]:
    """The calls in an order that does not depend on the model's."""
    return sorted(message.tool_calls, key=lambda call: (call.name, call.arguments))


def _same_share(one: ToolCall, two: ToolCall, form: Form) -> float:
    first, second = normal_arguments(one, form), normal_arguments(two, form)
    if not isinstance(first, dict) or not isinstance(second, dict):
        return float(first == second)
    return overlap(first, second)


def overlap(one: Json, two: Json) -> float:
    """Share of all keys that both objects have with the same value; 0 or 1 for other values."""
    if not isinstance(one, dict) or not isinstance(two, dict):
        return float(one == two)
    keys = one.keys() | two.keys()
    return sum(key in one and key in two and one[key] == two[key] for key in keys) / len(keys) if keys else 1.0


def _grams(text: str) -> Counter[str]:
    plain = f" {' '.join(text.casefold().split())} "
    return Counter(plain[start : start + 3] for start in range(len(plain) - 2)) if plain.strip() else Counter()


def sorted_keys(value: Json) -> Json:
    """The value with the keys of every object in order."""
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(item) for item in value] if isinstance(value, list) else value


def mean(values: Sequence[float]) -> float:
    """The mean; 1 for nothing, since nothing disagrees."""
    return sum(values) / len(values) if values else 1.0
