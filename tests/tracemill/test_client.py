"""The Python client against the real admin application over a real port, and against servers that are none."""

import asyncio
import http.server
import inspect
import io
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx2 as httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracemill
from proxy.admin.app import OPERATIONS, create_admin_app
from proxy.serve.ingest_process import ingest_as_served
from tests import chat
from tests.proxy.admin.serving import listening, write
from tests.proxy.admin.test_api import CUT, EMBEDDING, START, WHOLE
from tests.server import Server
from tests.upstream import Answer, ReceivedCall, ScriptedUpstream, plain
from tracemill import AsyncClient, Client
from tracemill.client import operations, procedures
from tracemill.client.blocks import in_blocks
from tracemill.client.call import Asked, Blocks, Call, Lines, Pages, part
from tracemill.client.line_reader import LineReader

T = TypeVar("T")


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    def script(_call: ReceivedCall) -> Answer:
        return plain(json.dumps(chat.completion(chat.text("Hello"))).encode())

    with ScriptedUpstream(script) as running:
        yield running


TOKEN = "a-token-of-sixteen-or-more"
MANY = 450
"""More than two pages."""


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    await write(tmp_path, WHOLE, CUT, EMBEDDING)
    async with listening(create_admin_app(tmp_path)) as port:
        yield f"http://127.0.0.1:{port}"


async def in_thread(url: str, work: Callable[[Client], T]) -> T:
    """Use the blocking client beside the event loop that serves."""

    def run() -> T:
        with Client(url) as client:
            return work(client)

    return await asyncio.to_thread(run)


# One declaration, two clients ----------------------------------------------------------------------------------------

DECLARED = {
    name: made
    for resource in map(operations.__dict__.__getitem__, operations.__all__)
    for name, made in vars(resource).items()
    if inspect.isfunction(made) and made.__module__ == resource.__name__ and not name.startswith("_")
}


PROCEDURES = {
    name: made
    for kind in map(procedures.__dict__.__getitem__, procedures.__all__)
    for name, made in vars(kind).items()
    if inspect.isgeneratorfunction(made) and made.__module__ == kind.__name__ and name != "version_of"
}


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("name", [*DECLARED, *PROCEDURES])
def test_both_clients_have_every_operation_with_its_parameters_and_its_text(kind: type, name: str) -> None:
    method, declared = getattr(kind, name), {**DECLARED, **PROCEDURES}[name]
    assert method.__doc__ == declared.__doc__
    assert list(inspect.signature(declared).parameters) == list(inspect.signature(method).parameters)


def asked_by(name: str) -> Asked:
    declared = DECLARED[name]
    needed = [each for each in inspect.signature(declared).parameters.values() if each.default is each.empty]
    others: dict[str, Any] = {"lines": b"x", "members": {}}
    made = declared(*(others.get(each.name, "x") for each in needed))
    if isinstance(made, Pages):
        made = made.at(None)
    assert isinstance(made, Call | Lines | Blocks)
    return made.asked


def test_the_client_speaks_every_operation_of_the_admin_side_and_no_other() -> None:
    asked = {
        (made.operation, made.method, re.sub("/(newest|active|frozen)(?=/|$)", "/*", made.path))
        for made in map(asked_by, DECLARED)
    }
    served = {
        # What a reference without a number stands for differs.
        (operation.name, operation.method, re.sub(r"{\w+}", "x", operation.path.replace("{number}", "*")))
        for operation in OPERATIONS
    }
    assert asked == served


def test_the_client_has_every_parameter_of_an_operation_and_no_other() -> None:
    asked: dict[str, set[str]] = defaultdict(set)
    for made in map(asked_by, DECLARED):
        asked[made.operation] |= set(made.query)
    assert asked == {operation.name: {each.name for each in operation.parameters} for operation in OPERATIONS}


# Results -------------------------------------------------------------------------------------------------------------


async def test_results_have_types_and_times(url: str) -> None:
    page, whole, counts = await in_thread(
        url, lambda client: (client.trace_page(limit=2), client.trace(str(WHOLE.id)), client.stats())
    )
    assert [summary.id for summary in page.data] == [str(EMBEDDING.id), str(CUT.id)]
    assert isinstance(page.data[0], tracemill.TraceSummary)
    assert whole.created_at == START
    assert whole.replies[0].message["content"] == "Hello"
    assert whole.parameters == {"model": "m-1", "parallel_tool_calls": True}
    assert (counts.traces, counts.by_outcome) == (3, {"completed": 2, "client_disconnect": 1})


async def test_usage_is_counted_by_group_and_by_day(url: str) -> None:
    day = START.date()
    counts = await in_thread(url, lambda client: client.stats(group_by=["model"], first_day=day, last_day=str(day)))
    assert counts.usage.total.calls == sum(group.calls for group in counts.usage.groups)
    assert {group.model for group in counts.usage.groups} == {"m-1", None}
    later = await in_thread(url, lambda client: client.stats("model = m-1", first_day=day + timedelta(days=1)))
    assert later.usage.total.calls == 0
    with pytest.raises(tracemill.InvalidRequestError) as caught:
        await in_thread(url, lambda client: client.stats(first_day="yesterday"))
    assert caught.value.param == "from"


async def test_the_async_client_gives_the_same(url: str) -> None:
    def blocking(client: Client) -> list[object]:
        return [
            *client.traces(),
            client.trace(str(WHOLE.id)),
            client.trace_page(limit=1).data,
            client.readyz(),
            client.openapi(),
            *client.export(all=True),
        ]

    async with AsyncClient(url) as client:
        awaited: list[object] = [
            *[each async for each in client.traces()],
            await client.trace(str(WHOLE.id)),
            (await client.trace_page(limit=1)).data,
            await client.readyz(),
            await client.openapi(),
            *[line async for line in client.export(all=True)],
        ]
    assert awaited == await in_thread(url, blocking)


async def test_all_pages_are_walked_through_and_only_as_far_as_somebody_goes(tmp_path: Path) -> None:
    many = [
        replace(WHOLE, id=UUID(int=number + 1), created_at=START + timedelta(seconds=number)) for number in range(MANY)
    ]
    await write(tmp_path, *many)
    async with listening(create_admin_app(tmp_path)) as port:
        url = f"http://127.0.0.1:{port}"
        found = await in_thread(url, lambda client: [summary.id for summary in client.traces("complete")])
        first = await in_thread(url, lambda client: next(client.traces()).id)
        oldest = await in_thread(url, lambda client: next(client.traces(order="created_at")).id)
        async with AsyncClient(url) as client:
            walked = [summary.id async for summary in client.traces()]
    assert found == walked == [str(trace.id) for trace in reversed(many)]
    assert (first, oldest) == (str(many[-1].id), str(many[0].id))


async def test_an_export_comes_line_by_line_as_the_command_writes_it(url: str) -> None:
    lines = await in_thread(url, lambda client: list(client.export("complete", format="openai")))
    (line,) = lines
    assert line.endswith(b"}\n")
    assert json.loads(line)["parallel_tool_calls"] is True
    assert len(await in_thread(url, lambda client: list(client.export(all=True)))) == 2


async def test_an_export_can_be_left_in_the_middle(tmp_path: Path) -> None:
    body = b'{"role":"user","content":"%s"}' % (b"x" * 500_000)
    many = [replace(WHOLE, id=UUID(int=number), messages=(body,)) for number in range(1, 30)]
    await write(tmp_path, *many)
    async with listening(create_admin_app(tmp_path)) as port:

        def some(client: Client) -> int:
            with closing(client.export()) as lines:  # type: ignore[type-var] # it is a generator
                size = len(next(lines))
            return size + client.stats().traces * 0

        assert await in_thread(f"http://127.0.0.1:{port}", some) > 500_000


async def test_numbers_and_texts_beyond_the_usual_come_out_as_they_were(tmp_path: Path) -> None:
    odd = rb'{"role":"user","content":"lone \ud800 and \u0000","n":123456789012345678901234567890}'
    await write(tmp_path, replace(WHOLE, messages=(odd,)))
    async with listening(create_admin_app(tmp_path)) as port:
        url = f"http://127.0.0.1:{port}"
        trace = await in_thread(url, lambda client: client.trace(str(WHOLE.id)))
        text = await in_thread(url, lambda client: client.trace_json(str(WHOLE.id)))
    assert trace.messages == [json.loads(odd)]
    assert odd in text


async def test_what_a_later_server_adds_is_kept() -> None:
    page = tracemill.ChangePage.model_validate({"data": [], "next_cursor": None, "total": 7})
    assert page.model_extra == {"total": 7}
    stats = tracemill.Change.model_validate(
        {
            "id": "x", "kind": "a-later-kind", "asked_at": "2026-01-01T00:00:00Z", "asked_by": None,
            "applied_at": "2026-01-01T00:00:00Z", "finished_at": None, "result": {},
        }
    )  # fmt: skip
    assert stats.kind == "a-later-kind"


async def test_the_audit_log_is_read(url: str, tmp_path: Path) -> None:
    await in_thread(url, lambda client: list(client.export("status = 200")))
    await ingest_as_served(tmp_path)
    (change,) = await in_thread(url, lambda client: list(client.changes("export")))
    assert change.result["where"] == "status = 200"
    assert await in_thread(url, lambda client: client.change(change.id)) == change


async def test_feedback_is_given_and_a_trace_is_erased(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """With the whole product: what the client asks for is done by ingest."""

    def work(url: str, id_: str) -> None:
        with Client(url) as client:
            (talk,) = client.conversations("complete")
            assert client.conversation(talk.id).members == list(client.conversation_calls(talk.id))
            assert [member.id for member in client.conversation_calls(talk.id)] == [id_]
            given = client.give_feedback(id_, False, name="helpful", by="anna")
            assert isinstance(given, tracemill.Feedback)
            assert given.value is False
            assert [entry.id for entry in client.feedback(id_).data] == [given.id]
            taken = client.erase(traces=[id_])
            while client.erasure(taken.change_id).finished_at is None:
                time.sleep(0.02)
            with pytest.raises(tracemill.NotFoundError):
                client.trace(id_)
            assert list(client.conversations()) == []
            assert {change.kind for change in client.changes()} == {"feedback", "erase"}
            with pytest.raises(tracemill.InvalidRequestError):
                client.erase(session="a", user="b")

    def run() -> None:
        with Server(upstream.base_url, tmp_path / "data") as server:
            body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
            answer = httpx.post(f"{server.base_url}/chat/completions", json=body)
            server.wait_traces(1)
            work(server.admin_url, answer.headers["x-tracemill-trace-id"])

    await asyncio.wait_for(asyncio.to_thread(run), 60)


async def test_calls_are_imported_from_bytes_files_and_lines(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    def line(text: str) -> bytes:
        messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "Hello"}]
        return json.dumps({"messages": messages}).encode() + b"\n"

    path = tmp_path / "calls.jsonl"
    path.write_bytes(b"".join(line(f"file {number}") for number in range(2000)))

    def run() -> None:
        with Server(upstream.base_url, tmp_path / "data") as server, Client(server.admin_url) as client:
            assert client.import_calls(line("bytes"), dry_run=True).stored is None
            assert client.import_calls(line("bytes"), tags={"team": "search"}).stored == 1
            assert client.import_calls(line(f"line {number}") for number in range(3)).stored == 3
            with path.open("rb") as file:
                report = client.import_calls(file, format="openai_messages")
            assert (report.lines, report.stored, report.rejected) == (2000, 2000, 0)
            assert len(list(client.traces("tag.team = search"))) == 1
            rejected = client.import_calls(b"no json\n")
            assert (rejected.rejected, rejected.first_rejected[0].line) == (1, 1)

            async def again() -> int | None:
                async with AsyncClient(server.admin_url) as client:
                    with path.open("rb") as file:
                        return (await client.import_calls(file)).duplicates

            assert asyncio.run(again()) == 2000

    await asyncio.wait_for(asyncio.to_thread(run), 60)


@given(st.lists(st.binary(max_size=40_000), max_size=8))
def test_what_is_sent_is_what_was_given_however_it_is_cut(lines: list[bytes]) -> None:
    assert b"".join(in_blocks(lines)) == b"".join(in_blocks(io.BytesIO(b"".join(lines)))) == b"".join(lines)
    assert all(in_blocks(lines))


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "kind", "status", "code", "param"),
    [
        (lambda client: client.trace("nothing"), tracemill.NotFoundError, 404, "not_found", None),
        (lambda client: client.trace_page("nonsense ="), tracemill.InvalidRequestError, 400, "invalid_filter", "where"),
        (lambda client: next(client.traces("(")), tracemill.InvalidRequestError, 400, "invalid_filter", "where"),
        (lambda client: next(client.export("(")), tracemill.InvalidRequestError, 400, "invalid_filter", "where"),
        (lambda client: client.trace_page(limit=0), tracemill.InvalidRequestError, 400, "invalid_parameter", "limit"),
        (lambda client: client.trace_page(cursor="x"), tracemill.InvalidRequestError, 400, "invalid_cursor", "cursor"),
    ],
)
async def test_an_error_of_the_admin_side_has_its_kind_and_its_parts(
    url: str, ask: Callable[[Client], object], kind: type[tracemill.RefusedError], status: int, code: str, param: str
) -> None:
    with pytest.raises(kind) as caught:
        await in_thread(url, ask)
    assert (caught.value.status, caught.value.code, caught.value.param) == (status, code, param)
    assert caught.value.message in str(caught.value)


async def test_a_token_opens_and_a_wrong_one_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(create_admin_app(tmp_path, token=TOKEN)) as port:
        url = f"http://127.0.0.1:{port}"
        async with AsyncClient(url) as nobody, AsyncClient(url, token="wrong") as wrong:
            for _ in range(10):
                with pytest.raises(tracemill.TokenError):
                    await wrong.stats()
            with pytest.raises(tracemill.TooManyFailuresError) as caught:
                await wrong.stats()
            assert caught.value.retry_after_s is not None
            assert 0 < caught.value.retry_after_s <= 60
            with pytest.raises(tracemill.TokenError):
                await nobody.stats()
    monkeypatch.setenv("TRACEMILL_ADMIN_TOKEN", TOKEN)
    async with listening(create_admin_app(tmp_path, token=TOKEN)) as port:
        counts = await in_thread(f"http://127.0.0.1:{port}", lambda client: client.stats())
    assert counts.traces == 0


def test_a_token_is_never_shown_and_one_that_cannot_be_sent_is_refused() -> None:
    with Client(token=TOKEN) as client:
        assert TOKEN not in repr(client)
    for wrong in ("two words", "line\nend", "käse"):
        with pytest.raises(ValueError, match="token") as caught:
            Client(token=wrong)
        assert wrong not in str(caught.value)


@pytest.mark.parametrize("wrong", ["", "127.0.0.1:8081", "ftp://x", "http://"])
def test_a_base_url_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Client(wrong)


@pytest.mark.parametrize("wrong", ["", ".", ".."])
def test_what_is_no_id_leads_to_no_other_path(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no id"):
        part(wrong)


def test_an_id_of_any_other_characters_stands_in_the_path_as_one_part() -> None:
    assert part("a?b#c%2f /../ü") == "a%3Fb%23c%252f%20%2F..%2F%C3%BC"


async def test_nobody_there_is_told_as_such() -> None:
    with pytest.raises(tracemill.UnreachableError, match="tracemill serve"):
        await in_thread("http://127.0.0.1:1", lambda client: client.stats())
    async with AsyncClient("http://127.0.0.1:1") as client:
        with pytest.raises(tracemill.UnreachableError):
            await client.stats()


# Servers that are no admin side --------------------------------------------------------------------------------------


class Foreign(http.server.BaseHTTPRequestHandler):
    answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")

    def do_GET(self) -> None:
        status, headers, body = self.answer
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def foreign() -> Iterator[tuple[str, type[Foreign]]]:
    kind = type("Scripted", (Foreign,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", kind
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"<html>"),
        (200, {}, b'{"traces":1}'),
        (200, {}, b"[" * 100_000),
        (200, {}, b"\xff"),
        (302, {"location": "http://127.0.0.1:1/stolen"}, b""),
        (404, {}, b"not ours"),
        (500, {}, b'{"error":"text"}'),
        (401, {}, b'{"error":{"message":"m"}}'),
    ],
)
def test_an_answer_of_something_else_is_told_as_such(
    foreign: tuple[str, type[Foreign]], answer: tuple[int, dict[str, str], bytes]
) -> None:
    url, kind = foreign
    kind.answer = answer
    with Client(url, token=TOKEN) as client, pytest.raises(tracemill.AnswerError) as caught:
        client.stats()
    assert TOKEN not in str(caught.value)


def test_an_export_that_breaks_off_is_not_taken_for_a_whole_one(foreign: tuple[str, type[Foreign]]) -> None:
    url, kind = foreign
    kind.answer = (200, {"content-length": "100"}, b'{"a":1}\n{"b"')
    seen = []
    with Client(url) as client, pytest.raises(tracemill.UnreachableError):
        seen.extend(client.export())
    with Client(url) as client:
        lines = client.export()
        assert next(lines) == b'{"a":1}\n'
        with pytest.raises(tracemill.UnreachableError):
            next(lines)


# Lines ---------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_lines_are_the_same_however_the_body_is_cut(body: bytes, cuts: list[int]) -> None:
    reader = LineReader()
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    lines = [line for begin, end in pairwise(places) for line in reader.take(body[begin:end])]
    rest = reader.end()
    assert b"".join([*lines, rest]) == body
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert b"\n" not in rest
