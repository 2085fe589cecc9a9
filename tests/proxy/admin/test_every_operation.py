"""What holds for everything that the admin side can be asked, now and whatever is added."""

import asyncio
import http.client
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from proxy.admin.app import OPERATIONS, create_admin_app
from proxy.admin.bearer import Scope
from proxy.admin.body import Body
from proxy.admin.openapi import errors_of
from proxy.admin.operation import Operation
from proxy.admin.refusal import Code
from tests.proxy.admin.serving import Answer, Ask, listening, serving, write
from tests.proxy.admin.test_api import WHOLE

TOKEN = "a-token-of-sixteen-or-more"
READ_TOKEN = "another-token-for-readers"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
WRITING = [operation for operation in OPERATIONS if operation.scope is Scope.WRITE]
WITH_BODY = [operation for operation in OPERATIONS if operation.body is not None]


def path_of(operation: Operation) -> str:
    return operation.path.replace("{id}", str(WHOLE.id)).replace("{", "").replace("}", "")


def headers_of(operation: Operation) -> dict[str, str]:
    return {"Content_Type": operation.body.media_type} if operation.body else {}


def body_of(operation: Operation) -> bytes | None:
    return b"{}" if operation.body else None


def check_shape(answer: Answer, code: Code, about: object) -> None:
    error = answer.json["error"]
    assert (answer.status, error["code"], error["type"]) == (code.status, code.text, "tracemill_error"), about
    assert answer.headers["content-type"] == "application/json", about
    assert set(error) == {"message", "type", "param", "code"}, about


async def asked(ask: Ask, operation: Operation, query: str = "", **headers: str) -> Any:
    """Ask in the way that is right but for what the query and the header fields say."""
    fields = {**headers_of(operation), **headers}
    return await ask(path_of(operation) + query, operation.method, body_of(operation), **fields)


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Ask]:
    await write(tmp_path, WHOLE)
    async with serving(create_admin_app(tmp_path)) as ask:
        yield ask


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Ask]:
    async with serving(create_admin_app(tmp_path, token=TOKEN, read_token=READ_TOKEN)) as ask:
        yield ask


async def test_a_parameter_that_means_nothing_is_refused(ask: Ask) -> None:
    for operation in OPERATIONS:
        answer = await asked(ask, operation, "?unheard_of=1")
        check_shape(answer, Code.INVALID_PARAMETER, operation.name)
        assert answer.json["error"]["param"] == "unheard_of"


async def test_each_parameter_stands_once(ask: Ask) -> None:
    for operation in OPERATIONS:
        for parameter in operation.parameters:
            answer = await asked(ask, operation, f"?{parameter.name}=1&{parameter.name}=1")
            check_shape(answer, Code.INVALID_PARAMETER, (operation.name, parameter.name))
            assert answer.json["error"]["param"] == parameter.name


async def test_a_method_that_a_path_does_not_have_is_told_those_it_has(ask: Ask) -> None:
    held: dict[str, set[str]] = defaultdict(set)
    for operation in OPERATIONS:
        held[path_of(operation)] |= {operation.method, *(["HEAD"] if operation.method == "GET" else [])}
    for path, methods in held.items():
        for method in METHODS - methods:
            answer = await ask(path, method)
            assert answer.status == 405, (method, path)
            assert set(answer.headers["allow"].split(", ")) == methods
            if method != "HEAD":
                check_shape(answer, Code.METHOD_NOT_ALLOWED, (method, path))


async def test_who_has_no_token_is_told_nothing(guarded: Ask) -> None:
    for operation in OPERATIONS:
        answer = await asked(guarded, operation)
        if operation.scope is Scope.OPEN:
            assert answer.status == 200
        else:
            check_shape(answer, Code.INVALID_TOKEN, operation.name)


async def test_a_token_for_reading_changes_nothing(guarded: Ask, tmp_path: Path) -> None:
    for operation in WRITING:
        answer = await asked(guarded, operation, Authorization=f"Bearer {READ_TOKEN}")
        check_shape(answer, Code.SCOPE_MISSING, operation.name)
    assert not (tmp_path / "journal").exists()


async def test_a_foreign_page_reaches_nothing(ask: Ask, tmp_path: Path) -> None:
    for operation in OPERATIONS:
        answer = await asked(ask, operation, Sec_Fetch_Site="cross-site", Origin="http://evil.example")
        check_shape(answer, Code.FOREIGN_ORIGIN, operation.name)
    assert not (tmp_path / "journal").exists()


async def test_what_changes_anything_is_refused_to_a_page_that_sends_its_origin_alone(ask: Ask) -> None:
    for operation in WRITING:
        check_shape(await asked(ask, operation, Origin="http://evil.example"), Code.FOREIGN_ORIGIN, operation.name)


async def test_a_database_that_cannot_be_read_is_told_in_the_one_shape(tmp_path: Path) -> None:
    (tmp_path / "traces.db").write_bytes(b"not a database" * 100)
    async with serving(create_admin_app(tmp_path)) as ask:
        for operation in OPERATIONS:
            answer = await asked(ask, operation)
            if answer.status >= 400:
                check_shape(answer, Code[answer.json["error"]["code"].upper()], operation.name)
                assert answer.status != 500, operation.name


# Bodies --------------------------------------------------------------------------------------------------------------


async def test_what_a_form_of_a_web_page_can_send_is_no_body(ask: Ask) -> None:
    for operation in WITH_BODY:
        for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            fields = {"Content_Type": media_type} if media_type else {}
            answer = await ask(path_of(operation), operation.method, b"{}", **fields)
            check_shape(answer, Code.UNSUPPORTED_MEDIA_TYPE, (operation.name, media_type))


async def test_a_body_that_is_none_is_refused(ask: Ask) -> None:
    for operation in WITH_BODY:
        if operation.body is not None and operation.body.shape is not None:
            for body in (b"", b"{", b"[]", b"\xff", b'{"unheard_of":1}', b"[" * 10_000):
                answer = await ask(path_of(operation), operation.method, body, **headers_of(operation))
                check_shape(answer, Code.INVALID_BODY, (operation.name, body[:20]))


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_body_beyond_the_bound_is_refused(tmp_path: Path, is_told: bool) -> None:
    """Whether its length is told ahead or it comes in chunks without end."""
    async with listening(create_admin_app(tmp_path)) as port:
        for operation in WITH_BODY:
            if operation.body is not None and operation.body.max_bytes < 2**26:
                answer = await asyncio.to_thread(send_too_much, port, operation, operation.body, is_told=is_told)
                check_shape(answer, Code.BODY_TOO_LARGE, operation.name)


def send_too_much(port: int, operation: Operation, body: Body, *, is_told: bool) -> Answer:
    size = body.max_bytes + 1
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    blocks: Iterator[bytes] = (b" " * min(65536, size - at) for at in range(0, size, 65536))
    fields = {"content-type": body.media_type, **({"content-length": str(size)} if is_told else {})}
    # It may be refused before it is sent as a whole; the answer is there to be read.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.request(
            operation.method, path_of(operation), body=blocks, headers=fields, encode_chunked=not is_told
        )
    answer = connection.getresponse()
    got = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    connection.close()
    return got


# Declarations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_declaration_is_whole(operation: Operation) -> None:
    assert operation.summary.endswith(".")
    assert operation.tag
    assert (operation.scope is Scope.WRITE) or operation.method == "GET"
    assert [f"{{{name}}}" for name, _ in operation.path_parts] == [
        part for part in urlsplit(operation.path).path.split("/") if part.startswith("{")
    ]
    assert (operation.body is None) or operation.method != "GET"
    assert set(operation.errors) <= set(errors_of(operation))
    assert all(parameter.meaning.endswith(".") for parameter in operation.parameters)
    json.dumps([dict(parameter.schema) for parameter in operation.parameters])


def test_operations_have_names_of_their_own() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
