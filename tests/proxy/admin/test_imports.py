"""Import over HTTP: what is sent is stored, counted and told, and held back where it cannot be stored."""

import asyncio
import gzip
import http.client
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import imports
from proxy.admin.app import create_admin_app
from proxy.admin.shapes.imports import ImportReport
from proxy.ingest.ingest import ingest_once, run_ingest
from store.change import ChangeKind, list_changes
from store.data_files import TRACES_FILE
from store.traces import TraceReader
from tests.proxy.admin.serving import Answer, Ask, listening, serving

LINES = {"Content_Type": "application/x-ndjson"}
PATH = "/admin/api/import"


def line(text: str) -> bytes:
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": f"re {text}"}]
    return json.dumps({"messages": messages}).encode() + b"\n"


@asynccontextmanager
async def ingesting(data_dir: Path) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(run_ingest(data_dir, stop, max_decoded_bytes=1 << 20))
    try:
        yield
    finally:
        stop.set()
        await running


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Ask]:
    async with ingesting(tmp_path), serving(create_admin_app(tmp_path)) as ask:
        yield ask


async def stored(data_dir: Path) -> list[Any]:
    async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
        return [trace async for trace in reader.traces()]


async def test_lines_that_are_sent_are_stored_and_counted(ask: Ask, tmp_path: Path) -> None:
    answer = await ask(PATH, "POST", line("a") + b"{\n" + line("b") + line("a"), **LINES)
    assert answer.status == 200
    report = ImportReport.model_validate(answer.json)
    assert (report.stored, report.duplicates, report.rejected, report.reasons) == (2, 1, 1, {"not_json": 1})
    assert (report.records, report.formats) == (4, {"openai_messages": 3})
    assert [(each.line, each.reason) for each in report.first_rejected] == [(2, "not_json")]
    assert not report.model_extra
    assert len(await stored(tmp_path)) == 2


async def test_the_same_sent_again_compressed_is_all_duplicates(ask: Ask) -> None:
    await ask(PATH, "POST", line("a"), **LINES)
    report = (await ask(PATH, "POST", gzip.compress(line("a")), **LINES)).json
    assert (report["stored"], report["duplicates"]) == (0, 1)


async def test_format_and_tags_are_taken_from_the_query(ask: Ask, tmp_path: Path) -> None:
    observation = json.dumps({"id": "o", "input": "hi", "output": "yo"}).encode()
    answer = await ask(f"{PATH}?format=langfuse&tags=env%3Dprod,run%3D7", "POST", observation, **LINES)
    assert answer.json["formats"] == {"langfuse": 1}
    (trace,) = await stored(tmp_path)
    assert trace.tags == {"env": "prod", "run": "7"}


async def test_a_dry_run_stores_nothing(ask: Ask, tmp_path: Path) -> None:
    report = (await ask(f"{PATH}?dry_run=true", "POST", line("a"), **LINES)).json
    assert (report["traces"], report["stored"]) == (1, None)
    assert (await ask(PATH, "POST", line("b"), **LINES)).json["stored"] == 1
    assert len(await stored(tmp_path)) == 1


async def test_the_import_stands_in_the_audit_log(ask: Ask, tmp_path: Path) -> None:
    await ask(PATH, "POST", line("a"), **LINES)
    async with await TraceReader.open(tmp_path / TRACES_FILE) as reader:
        (record,) = await reader.look(lambda db: list_changes(db, ChangeKind.IMPORT))
    assert (record.asked_by, record.result["stored"]) == ("local", 1)


@pytest.mark.parametrize(
    ("path", "headers", "status", "param"),
    [
        (f"{PATH}?format=csv", LINES, 400, "format"),
        (f"{PATH}?tags=x", LINES, 400, "tags"),
        (PATH, {"Content_Type": "text/plain"}, 415, None),
    ],
)
async def test_what_is_asked_wrongly_is_refused(
    ask: Ask, path: str, headers: dict[str, str], status: int, param: str | None
) -> None:
    answer: Answer = await ask(path, "POST", line("a"), **headers)
    assert (answer.status, answer.json["error"]["param"]) == (status, param)


async def test_a_token_that_may_only_read_imports_nothing(tmp_path: Path) -> None:
    async with ingesting(tmp_path), serving(create_admin_app(tmp_path, token="w" * 32, read_token="r" * 32)) as ask:
        answer = await ask(PATH, "POST", line("a"), Authorization=f"Bearer {'r' * 32}", **LINES)
    assert answer.status == 403


async def test_nothing_is_imported_where_nothing_is_captured(tmp_path: Path) -> None:
    async with serving(create_admin_app(tmp_path, is_captured=False)) as ask:
        answer = await ask(PATH, "POST", line("a"), **LINES)
    assert (answer.status, answer.json["error"]["code"]) == (503, "store_unavailable")
    assert list(tmp_path.iterdir()) == []


async def test_what_ingest_does_not_come_to_is_kept_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "_PATIENCE_S", 0.3)
    async with serving(create_admin_app(tmp_path)) as ask:
        answer = await ask(PATH, "POST", line("a"), **LINES)
    assert (answer.status, answer.json["traces"], answer.json["stored"]) == (202, 1, None)
    await ingest_once(tmp_path, max_decoded_bytes=1 << 20)
    assert len(await stored(tmp_path)) == 1


async def test_a_body_is_read_as_it_comes_and_others_are_answered_meanwhile(tmp_path: Path) -> None:
    """Ten thousand lines in chunks: the admin side answers while they come in."""

    def send(port: int) -> Answer:
        blocks: Iterator[bytes] = (line(f"{number} " + "x" * 500) for number in range(10_000))
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("POST", PATH, body=blocks, headers={"Content-Type": "application/x-ndjson"})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    async with ingesting(tmp_path), listening(create_admin_app(tmp_path)) as port:
        sending = asyncio.create_task(asyncio.to_thread(send, port))
        answered = 0
        while not sending.done():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            async with asyncio.timeout(5):
                answered += (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
            await writer.wait_closed()
        assert sending.result().json["stored"] == 10_000
    assert answered > 3


async def test_a_client_that_leaves_in_the_middle_leaves_nothing_running(tmp_path: Path) -> None:
    async with ingesting(tmp_path), listening(create_admin_app(tmp_path)) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
            client.sendall(f"{head}Content-Length: 1000000\r\n\r\n".encode() + line("a"))
        async with asyncio.timeout(10):
            while _import_threads():
                await asyncio.sleep(0.01)


def _import_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("import")]
