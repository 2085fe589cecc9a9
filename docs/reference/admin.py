"""The parts of admin-api.md that the declarations of the admin side make; the rest of it is written by hand."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docs.reference.table import row
from proxy.admin.app import OPERATIONS
from proxy.admin.openapi import document
from proxy.admin.refusal import Code

PAGE = Path(__file__).parents[1] / "admin-api.md"
MADE_PART = re.compile(r"(?<=<!-- made by `make docs`: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
WORDS = {"integer": "whole number", "boolean": "true or false", "null": "null", "number": "number"}
BOUNDS = {"minimum": "from", "maximum": "to"}
DESCRIBED: Any = document(OPERATIONS)
SHAPES = DESCRIBED["components"]["schemas"]


def admin_page() -> str:
    """Return the page: the text that it has, with the made parts made anew."""
    parts = {"operations": _operations(), "errors": _errors(), "members": _members()}
    return MADE_PART.sub(lambda found: f"{found[1]}{found[2]}{parts[found[1]]}", PAGE.read_text())


def _operations() -> str:
    asked = [
        (f"`{method.upper()} {path}`", one["x-tracemill-scope"], one["summary"], _asked_with(one))
        for path, methods in DESCRIBED["paths"].items()
        for method, one in methods.items()
    ]
    parts = dict.fromkeys(part for operation in OPERATIONS for part in operation.path_parts)
    # Told once, though several operations have it; where it means something else, once more.
    declared = {(each.name, each.meaning): each for operation in OPERATIONS for each in operation.parameters}
    told = [(f"`{{{name}}}`", "text", "required", meaning) for name, meaning in parts]
    told += [
        (f"`{each.name}`", _values(each.schema), _default(each.schema), each.meaning) for each in declared.values()
    ]
    return (
        _table(("request", "token", "what it does", "asked with"), asked)
        + "\n"
        + _table(("parameter", "values", "default", "meaning"), told)
    )


def _asked_with(one: Any) -> str:  # noqa: ANN401 - an operation of an OpenAPI document
    bodies = one.get("requestBody", {"content": {}})["content"].values()
    names = [f"`{parameter['name']}`" for parameter in one["parameters"] if parameter["in"] == "query"]
    return ", ".join([*names, *(_body(body["schema"]) for body in bodies)])


def _body(schema: Any) -> str:  # noqa: ANN401
    if "$ref" in schema:
        return _values(schema)
    return "bytes" if schema.get("format") == "binary" else "lines"


def _default(schema: Any) -> str:  # noqa: ANN401 - a piece of a JSON Schema
    if "default" not in schema:
        return "none"
    value = schema["default"]
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _errors() -> str:
    return _table(("code", "status", "meaning"), [(f"`{code.text}`", str(code.status), code.meaning) for code in Code])


def _members() -> str:
    return "\n".join(
        f"### {name}\n\n{shape['description'].splitlines()[0]}\n\n"
        + (f"One of these: {_values(shape)}.\n" if "oneOf" in shape else "")
        + _table_or_nothing(
            ("member", "values", "meaning"),
            [
                (f"`{member}`", _values(schema), schema.get("description", ""))
                for member, schema in shape.get("properties", {}).items()
            ],
        )
        for name, shape in SHAPES.items()
        if _has_section(shape)
    )


def _has_section(shape: Any) -> bool:  # noqa: ANN401 - a piece of a JSON Schema
    return shape.get("properties") is not None or "oneOf" in shape


def _values(schema: Any) -> str:  # noqa: ANN401 - a piece of a JSON Schema
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(_values(one) for one in schema.get("anyOf") or schema["oneOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})" if _has_section(SHAPES[name]) else _values(SHAPES[name])
    kind = schema.get("type", "any JSON")
    if kind == "array":
        return f"list of {_values(schema['items'])}"
    if kind == "object":
        held = schema.get("additionalProperties")
        return f"object of {_values(held)}" if isinstance(held, dict) else "object"
    if kind == "string":
        return {"date-time": "time", "uuid": "UUID"}.get(schema.get("format"), "text")
    return " ".join([WORDS.get(kind, kind), *(f"{word} {schema[at]}" for at, word in BOUNDS.items() if at in schema)])


def _table_or_nothing(head: Iterable[str], rows: list[tuple[str, ...]]) -> str:
    return _table(head, rows) if rows else ""


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(map(row, lines))
