"""The contract page, read and held against the code, and against a second reading of its formulas."""

import json
import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from store.json_text import compact
from store.trace import Reply
from store.traces import TraceReader, TraceWriter
from store.tree import chain
from tests.store.test_traces import growing_chat, make_trace

PAGE = (Path(__file__).parents[2] / "docs" / "trace-format.md").read_text("utf-8")
VECTORS: list[dict[str, Any]] = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def test_the_page_has_vectors() -> None:
    assert len(VECTORS) >= 9


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors_hold(vector: dict[str, Any]) -> None:
    messages = [message.encode() for message in vector["messages"]]
    links = chain(messages)
    assert [compact(message) for message in messages] == messages
    assert [link.id.hex() for link in links] == vector["node_ids"]
    assert [link.key.hex() for link in links] == vector["stitch_keys"]


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors_follow_from_the_formulas_alone(vector: dict[str, Any]) -> None:
    for tag, texts, expected in (
        ("tracemill node 1\n", vector["messages"], vector["node_ids"]),
        ("tracemill stitch 1\n", vector["meanings"], vector["stitch_keys"]),
    ):
        parent = bytes(20)
        for text, name in zip(texts, expected, strict=True):
            parent = blake2b(tag.encode() + parent + text.encode(), digest_size=20).digest()
            assert parent.hex() == name


@pytest.mark.parametrize(("kind", "one", "other", "equal"), [("stitch_keys", 1, 2, True), ("node_ids", 1, 2, False)])
def test_vectors_show_what_the_page_says(kind: str, one: int, other: int, equal: bool) -> None:
    assert (VECTORS[one][kind] == VECTORS[other][kind]) is equal
    assert VECTORS[3]["stitch_keys"] == VECTORS[4]["stitch_keys"]
    assert VECTORS[6]["stitch_keys"] == VECTORS[7]["stitch_keys"]


async def test_ids_of_stored_messages_can_be_derived_again(tmp_path: Path) -> None:
    """What is stored is the canonical text itself: hashing what is read gives the ids it is stored under."""
    path = tmp_path / "traces.db"
    long = json.dumps({"role": "user", "content": ["x" * 20_000, "y" * 20_000]}, separators=(",", ":")).encode()
    traces = [*growing_chat(3), make_trace(50, messages=(long,), replies=(Reply(0, b"{}"),))]
    async with await TraceWriter.open(path) as writer:
        await writer.write(traces)
    expected = set()
    async with await TraceReader.open(path) as reader:
        async for trace in reader.traces():
            request = chain(trace.messages)
            expected |= {link.id for link in request}
            expected |= {chain([reply.message], after=request[-1])[0].id for reply in trace.replies}
        stored = {row["id"] for row in await reader._fetch("SELECT id FROM nodes")}
    assert stored == expected


def test_the_table_of_the_page_is_what_the_store_is_held_to() -> None:
    [row] = re.findall(r"^\| 12 \| (.*) \|$", PAGE, re.MULTILINE)
    messages, sent, nodes, kept, _ = (int(cell.replace(",", "")) for cell in row.split(" | "))
    traces = growing_chat(12)
    assert messages == sum(len(trace.messages) for trace in traces)
    assert sent == sum(trace.request_bytes for trace in traces)
    links = {link.id: link for trace in traces for link in chain([*trace.messages, trace.replies[0].message])}
    assert nodes == len(links)
    assert kept == sum(len(link.message) for link in links.values())
