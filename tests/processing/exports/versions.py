"""Versions of datasets to export: rows of every shape that exports meet."""

import base64
import struct
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from processing.datasets.row_form import row_of
from processing.exports.export import export_version
from processing.exports.wanted import Exported, Wanted
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part, Row, RowEnd, RowState
from store.datasets.version import Birth

KEPT = RowEnd(RowState.KEPT, "output", "train")
SEPARATORS = "a\u2028b\u2029c\x85d"


def png(red: int = 200) -> bytes:
    """A picture of one pixel."""
    raw = b"\x00" + bytes([red, 0, 0])

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def data_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def system(content: str) -> dict[str, Any]:
    return {"role": "system", "content": content}


def says(content: str, weight: int = 1, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "weight": weight, **fields}


def call(name: str, arguments: str, call_id: str = "c1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made: dict[str, Any], weight: int = 1, content: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(made), "weight": weight}


def result(content: str, call_id: str = "c1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def picture(content: bytes | str) -> dict[str, Any]:
    url = content if isinstance(content, str) else data_url(content)
    return {"type": "image_url", "image_url": {"url": url}}


def made(*messages: dict[str, Any], tools: Any = None, response_format: Any = None, **metadata: Any) -> dict[str, Any]:
    """A row of these messages."""
    return row_of(list(messages), tools=tools, response_format=response_format, metadata=metadata)


def telling_rows() -> list[dict[str, Any]]:
    """Rows that readers have been known to break: arguments of mixed types, separators, nulls, other scripts."""
    return [
        made(system("Be brief."), user("hi"), says("hello"), source_trace_id="t1", tags=["a"], judge_score=0.92),
        made(user(SEPARATORS), says(f"{SEPARATORS} \r\n \t \"quoted\", 'single'\n", 1)),
        made(
            user("weather?"),
            calls(call("get", '{"place": "Oslo", "days": 3}')),
            tools=[tool("get", place={"type": "string"}, days={"type": "integer"})],
        ),
        made(
            user("weather!"),
            calls(call("get", '{"place": 7, "days": "three", "extra": null, "deep": {"a": [1, "b", null, 2.5]}}')),
            result('{"t": 3}'),
            says("Three degrees."),
            tools=[tool("get", place={"enum": [7, "x", None]}), tool("other", description="no type at all")],
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        ),
        made(user("=HYPERLINK(1)"), says("-2+3", 1), says("@later", 1), nested={"list": [1, "2", {"three": None}]}),
        made(user("Привет 你好 🎈"), says("NA"), empty="", none=None),
        made(user("null"), says("null"), teacher_models=["m1", "m2"]),
        made(user("123"), says("0.30000000000000004")),
    ]


@asynccontextmanager
async def dataset(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    test: Sequence[dict[str, Any]] = (),
    unstructured: Sequence[dict[str, Any]] = (),
    *,
    manifest: dict[str, Any] | None = None,
    freeze: bool = True,
    unsplit: Sequence[dict[str, Any]] = (),
    note: str | None = None,
) -> AsyncIterator[DatasetStore]:
    """A store whose dataset `set` has one version of these rows."""
    async with await DatasetStore.open(folder / "work.db") as store:
        given = {"from": "a test"} if manifest is None else manifest
        async with store.birth("set", birth=Birth.UPLOAD, manifest=given, note=note, freeze=freeze) as born:
            for part, contents in (
                (Part.TRAIN, rows),
                (Part.TEST, test),
                (Part.UNSTRUCTURED, unstructured),
                (None, unsplit),
            ):
                await born.add_rows([Row(content, part, KEPT) for content in contents])
        yield store


async def export(folder: Path, rows: Sequence[dict[str, Any]], wanted: Wanted, **parts: Any) -> Exported:
    """Export a new version of these rows."""
    folder.mkdir(exist_ok=True)
    async with dataset(folder, rows, **parts) as store:
        return await export_version(store, "set", wanted)


def in_order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as a version gives them."""
    return sorted(rows, key=lambda row: str(row["row_id"]))
