"""What a key of a configuration may hold, in words."""

from typing import Any

VALUE_WORDS = {
    "string": "text",
    "boolean": "`true`, `false`",
    "integer": "whole number",
    "number": "number",
    "null": "`null`",
    "array": "list of names",
    "object": "mapping",
}
BOUND_WORDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}


def values(schema: Any) -> str:  # noqa: ANN401 - a piece of a JSON Schema
    """Return what a property of a JSON Schema holds: choices, or a kind of value with its bounds."""
    if "anyOf" in schema:
        return " or ".join(values(one) for one in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    bounds = [f"{word} {schema[name]:g}" for name, word in BOUND_WORDS.items() if name in schema]
    return " ".join([VALUE_WORDS[schema.get("type", "object")], *bounds])
