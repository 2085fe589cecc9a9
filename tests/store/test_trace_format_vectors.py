"""The vectors of the trace format, held against the code and against a second reading of the formulas."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from store import tree
from store.body import blob_id, cut_long_strings, put_back
from store.json_text import JsonTextError, compact
from store.trace import Reply
from store.traces import TraceReader, TraceWriter
from store.tree import chain
from tests.store.traces import make_trace

FILE = Path(__file__).parent / "vectors" / "trace-format-1.json"
PAGE = (Path(__file__).parents[2] / "docs" / "trace-format.md").read_text("utf-8")
VECTORS: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
FROZEN = "f580dca50a8ad3cfb0805b9e1b60954eb41ef613f2fec6b13fbc9d88500e20d5"
"""The file's SHA-256. What a version says never changes: another behaviour is another version, in another file."""

chains = pytest.mark.parametrize("vector", VECTORS["chains"], ids=lambda vector: vector["name"])
large = pytest.mark.parametrize("vector", VECTORS["large"], ids=lambda vector: vector["name"])


def b160(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=20).hexdigest()


def large_text(vector: dict[str, Any]) -> bytes:
    text: str = vector["before"] + vector["unit"] * vector["count"] + vector["after"]
    return text.encode()


def test_the_vectors_of_a_version_never_change() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == FROZEN
    assert (VECTORS["node_tag"], VECTORS["stitch_tag"]) == (tree._NODE_TAG.decode(), tree._STITCH_TAG.decode())
    assert f"version {VECTORS['version']}" in PAGE
    assert f"tests/store/vectors/{FILE.name}" in PAGE


def test_they_speak_of_all_that_is_hard() -> None:
    said = " ".join(vector["name"] for kind in ("chains", "large", "refused") for vector in VECTORS[kind])
    for word in ("big integer", "floats", "order of keys", "NUL", "lone surrogate", "U+2028", "5 MB", "NaN", "UTF-8"):
        assert word in said


@chains
def test_what_is_received_becomes_the_text(vector: dict[str, Any]) -> None:
    assert [compact(text.encode()).decode() for text in vector["received"]] == vector["texts"]
    assert [compact(text.encode()).decode() for text in vector["texts"]] == vector["texts"]


@chains
def test_chains_have_their_ids_and_keys(vector: dict[str, Any]) -> None:
    links = chain([text.encode() for text in vector["texts"]])
    assert [link.id.hex() for link in links] == vector["node_ids"]
    assert [link.key.hex() for link in links] == vector["stitch_keys"]


@chains
def test_ids_and_keys_follow_from_the_formulas_alone(vector: dict[str, Any]) -> None:
    for tag, texts, expected in (
        ("tracemill node 1\n", vector["texts"], vector["node_ids"]),
        ("tracemill stitch 1\n", vector["meanings"], vector["stitch_keys"]),
    ):
        parent = bytes(20)
        for text, name in zip(texts, expected, strict=True):
            assert b160(tag.encode() + parent + text.encode()) == name
            parent = bytes.fromhex(name)


@large
def test_large_texts_have_their_ids_and_are_cut_where_it_says(vector: dict[str, Any]) -> None:
    text = large_text(vector)
    assert len(text) == vector["bytes"]
    assert compact(text) == text
    (link,) = chain([text])
    assert (link.id.hex(), link.key.hex()) == (vector["node_id"], vector["stitch_key"])
    assert b160(b"tracemill node 1\n" + bytes(20) + text) == vector["node_id"]
    kept, cuts = cut_long_strings(text)
    assert [{"offset": cut.offset, "blob_id": b160(cut.text)} for cut in cuts] == vector["cuts"]
    assert vector["kept"] in (None, kept.decode())
    assert put_back(kept, cuts) == text


@pytest.mark.parametrize("vector", VECTORS["values"], ids=lambda vector: vector["text"])
def test_values_are_named_by_their_text(vector: dict[str, str]) -> None:
    assert blob_id(vector["text"].encode()).hex() == vector["blob_id"] == b160(vector["text"].encode())


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_what_is_no_json_text_is_refused(vector: dict[str, str]) -> None:
    with pytest.raises(JsonTextError):
        compact(base64.b64decode(vector["base64"]))


async def test_every_text_comes_back_from_the_store_as_it_was_and_under_its_id(tmp_path: Path) -> None:
    texts = [tuple(text.encode() for text in vector["texts"]) for vector in VECTORS["chains"]]
    texts += [(large_text(vector),) for vector in VECTORS["large"]]
    values = [vector["text"].encode() for vector in VECTORS["values"]]
    traces = [
        make_trace(number, messages=messages, replies=(Reply(0, messages[0]),), parameters=values[number % len(values)])
        for number, messages in enumerate(texts)
    ]
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write(traces)
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        assert [trace async for trace in reader.traces()] == traces
        nodes = await reader.look(lambda db: {row[0].hex() for row in db.execute("SELECT id FROM nodes")})
        blobs = await reader.look(lambda db: {row[0].hex() for row in db.execute("SELECT id FROM blobs")})
    for vector in VECTORS["chains"]:
        assert set(vector["node_ids"]) <= nodes
    for vector in VECTORS["large"]:
        assert vector["node_id"] in nodes
        assert {cut["blob_id"] for cut in vector["cuts"]} <= blobs
    assert {vector["blob_id"] for vector in VECTORS["values"]} <= blobs
