"""Answers in the shape a `response_format` asks for."""

import json
from collections.abc import Mapping
from typing import Any

_BLANK: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "null": None}


def schema_of(response_format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Give the JSON schema that a `response_format` holds, None when it holds none."""
    wanted = response_format or {}
    if wanted.get("type") != "json_schema":
        return None
    schema = wanted.get("json_schema", {}).get("schema")
    return schema if isinstance(schema, dict) else None


def write(schema: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Write JSON text that is valid under a plain schema.

    Args:
        schema: Objects, arrays, enums and scalars are understood; a schema built with `$ref` or `anyOf` is not.
        facts: Values by property name; a property that has none, or whose fact is not among its enum, is left blank.
    """
    return json.dumps(_value(schema, facts, None))


def _value(schema: Mapping[str, Any], facts: Mapping[str, Any], fact: object) -> object:
    if "enum" in schema:
        return fact if fact in schema["enum"] else schema["enum"][0]
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: _value(inner, facts, facts.get(name)) for name, inner in properties.items()}
    return _BLANK.get(str(schema.get("type"))) if fact is None else fact
