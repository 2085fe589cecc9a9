"""The OpenAPI 3.1 document of the admin side, made from the declarations of its operations."""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.bearer import Scope
from proxy.admin.body import load_shape
from proxy.admin.context import Context
from proxy.admin.media_type import BYTES, JSON, LINES
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.refusal import Code

Schema = dict[str, Any]

_ERROR = "error.ErrorAnswer"
_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")
_ANY = (Code.HOST_NOT_ALLOWED, Code.FOREIGN_ORIGIN, Code.INTERNAL_ERROR)
_WITH_TOKEN = (Code.INVALID_TOKEN, Code.TOO_MANY_FAILURES, Code.STORE_UNAVAILABLE)
_WHEN = "Needed where the admin side has a token."
_WITH_BODY = (Code.INVALID_BODY, Code.BODY_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_BODIES = {LINES: {"type": "string"}, BYTES: {"type": "string", "format": "binary"}}
_OF_PARAMETERS = {"where": Code.INVALID_FILTER, "cursor": Code.INVALID_CURSOR}


def document(operations: Sequence[Operation]) -> Schema:
    """Describe the operations; plain JSON values in the order of their declarations."""
    shapes = _Shapes(operations)
    paths: dict[str, Schema] = defaultdict(dict)
    for operation in operations:
        paths[operation.path][operation.method.lower()] = _described(operation, shapes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tracemill admin API",
            "version": version("tracemill"),
            "description": "What was captured, over HTTP, on a port of its own.",
        },
        "paths": dict(paths),
        "components": {
            "schemas": shapes.definitions,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Needed where the admin side has a token."}
            },
        },
        "security": [{"token": []}, {}],
    }


class _Shapes:
    """The schemas of all shapes, by the names that stand for them."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        from pydantic.json_schema import models_json_schema

        goods = [good for operation in operations for good in (operation.good, operation.later) if good]
        given = [_ERROR, *(good.shape for good in goods if good.shape)]
        taken = [operation.body.shape for operation in operations if operation.body and operation.body.shape]
        answers = [(load_shape(name), "serialization") for name in dict.fromkeys(given)]
        bodies = [(load_shape(name), "validation") for name in dict.fromkeys(taken)]
        self._references, top = models_json_schema(
            [*answers, *bodies],  # type: ignore[list-item] # the modes are literals
            ref_template="#/components/schemas/{model}",
        )
        self.definitions: Schema = top["$defs"]

    def given(self, shape: str) -> Schema:
        return self._references[load_shape(shape), "serialization"]

    def taken(self, shape: str) -> Schema:
        return self._references[load_shape(shape), "validation"]


def errors_of(operation: Operation) -> list[Code]:
    """Give every error that an operation may answer, in the order of the list."""
    codes = {*_ANY, *operation.errors, Code.INVALID_PARAMETER}
    codes |= {code for name, code in _OF_PARAMETERS.items() if name in {each.name for each in operation.parameters}}
    if operation.scope is not Scope.OPEN:
        codes.update(_WITH_TOKEN)
    if operation.scope is Scope.WRITE:
        codes.add(Code.SCOPE_MISSING)
    if operation.body is not None:
        codes.update(_WITH_BODY)
    return [code for code in Code if code in codes]


def _described(operation: Operation, shapes: _Shapes) -> Schema:
    described: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_path_parts(operation), *_query(operation)],
        "responses": _answers(operation, shapes),
        "x-tracemill-scope": operation.scope.value,
    }
    if operation.scope is Scope.OPEN:
        described["security"] = []
    if operation.body is not None:
        shape = operation.body.shape
        schema: Schema = shapes.taken(shape) if shape is not None else dict(_BODIES[operation.body.media_type])
        described["requestBody"] = {"required": True, "content": {operation.body.media_type: {"schema": schema}}}
    return described


def _path_parts(operation: Operation) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "description": meaning, "schema": {"type": "string"}}
        for name, meaning in operation.path_parts
    ]


def _query(operation: Operation) -> list[Schema]:
    return [
        {
            "name": parameter.name,
            "in": "query",
            "required": False,
            "description": _plain(parameter.meaning),
            "schema": dict(parameter.schema),
        }
        for parameter in operation.parameters
    ]


def _answers(operation: Operation, shapes: _Shapes) -> Schema:
    answers: Schema = {}
    for good in (operation.good, operation.later):
        if good is not None:
            schema: Schema = {"type": "object" if good.media_type == JSON else "string"}
            if good.shape is not None:
                schema = shapes.given(good.shape)
            content = {good.media_type: {"schema": schema}}
            content |= {media_type: {"schema": {"type": "string"}} for media_type in good.also}
            answers[str(good.status)] = {"description": _plain(good.meaning), "content": content}
    by_status: dict[int, list[Code]] = defaultdict(list)
    for code in errors_of(operation):
        by_status[code.status].append(code)
    for status, codes in sorted(by_status.items()):
        told = "\n".join(f"- `{code.text}`: {code.meaning}" for code in codes)
        answers[str(status)] = {
            "description": told,
            "content": {JSON: {"schema": shapes.given(_ERROR)}},
        }
    return answers


def _plain(meaning: str) -> str:
    """Leave out links: they lead from page to page of the documentation."""
    return _LINK.sub(r"\1", meaning)


async def _openapi(context: Context, _asked: Asked) -> Response:
    made = await asyncio.to_thread(document, context.operations)
    return json_answer(json.dumps(made, ensure_ascii=False).encode())


OPERATIONS = (
    Operation(
        name="openapi",
        method="GET",
        path="/admin/api/openapi.json",
        summary="Gives this description as an OpenAPI 3.1 document.",
        handler=_openapi,
        good=Good("The document."),
        tag="health",
    ),
)
