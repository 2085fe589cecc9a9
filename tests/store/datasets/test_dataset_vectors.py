"""The hashes of rows and versions, held against the vectors and against a second reading of docs/datasets.md."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from store.datasets import freezing
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part, Row, read_canonical
from store.datasets.version import Birth
from tests.store.datasets.rows import KEPT

FILE = Path(__file__).parents[1] / "vectors" / "dataset-version-1.json"
PAGE = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text("utf-8")
VECTORS: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
FROZEN = "f7ea1870773c7ccb34844194090ae1580f9234e6fcdd9af8229789763af9639e"
"""The file's SHA-256. What a version says never changes: another behaviour is another version, in another file."""

each_row = pytest.mark.parametrize("vector", VECTORS["rows"], ids=lambda vector: vector["name"])


def keyed(text: bytes, key: str, size: int) -> str:
    return hashlib.blake2b(text, digest_size=size, key=key.encode()).hexdigest()


def made(vector: dict[str, Any]) -> Row:
    return Row(json.loads(vector["given"]), vector["part"] and Part(vector["part"]), KEPT)


def test_the_vectors_of_a_version_never_change() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == FROZEN
    assert f"version {VECTORS['version']}, with vectors in `tests/store/vectors/{FILE.name}`" in PAGE
    for key in ("row_key", "learned_key", "version_key", "test_key"):
        assert f"key `{VECTORS[key]}`" in PAGE


@each_row
def test_a_row_has_its_canonical_form_and_hashes(vector: dict[str, Any]) -> None:
    row = made(vector)
    assert row.text.decode() == vector["canonical"]
    assert (row.row_hash, row.learned_hash) == (vector["row_hash"], vector["learned_hash"])
    assert Row(read_canonical(row.text), row.part, KEPT).text == row.text


@each_row
def test_the_hashes_are_those_of_the_page(vector: dict[str, Any]) -> None:
    given = json.loads(vector["given"])
    learned = [given.get(name) for name in ("messages", "tools", "response_format")]
    written = json.dumps(learned, ensure_ascii=False, separators=(",", ":"))
    text = re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", written).encode()
    assert keyed(vector["canonical"].encode(), VECTORS["row_key"], 20) == vector["row_hash"]
    assert keyed(text, VECTORS["learned_key"], 20) == vector["learned_hash"]


def test_another_order_of_fields_is_the_same_row_but_not_where_models_see_it() -> None:
    row = made(VECTORS["rows"][2])
    assert Row(dict(reversed(list(row.content.items()))), None, KEPT).row_hash == row.row_hash
    turned = [dict(reversed(list(message.items()))) for message in row.content["messages"]]
    assert Row({**row.content, "messages": turned}, None, KEPT).row_hash != row.row_hash


async def test_a_version_has_the_hashes_of_its_lines(tmp_path: Path) -> None:
    rows = [made(vector) for vector in VECTORS["rows"]]
    async with await DatasetStore.open(tmp_path / "work.db") as store:
        async with store.birth("set", birth=Birth.UPLOAD, manifest={}, freeze=True) as born:
            await born.add_rows(rows)
        async with store.birth("one", birth=Birth.UPLOAD, manifest={}, freeze=True) as alone:
            await alone.add_rows(rows[:1])
    assert born.version is not None
    assert alone.version is not None
    assert (born.version.hash, born.version.test_hash) == (VECTORS["version_hash"], VECTORS["test_hash"])
    text = "".join(f"{line}\n" for line in VECTORS["version_lines"]).encode()
    assert keyed(text, VECTORS["version_key"], 32) == VECTORS["version_hash"]
    learned = sorted(row.learned_hash for row in rows if row.part is Part.TEST)
    assert keyed("".join(f"{one}\n" for one in learned).encode(), VECTORS["test_key"], 32) == VECTORS["test_hash"]
    assert freezing.learned_set_hash([]) is None
    told = re.search(r"row_hash +(\w+)\nlearned_hash +(\w+)\nversion hash +(\w+)", PAGE)
    assert told is not None
    assert told.groups() == (rows[0].row_hash, rows[0].learned_hash, alone.version.hash)


def test_the_row_of_the_page_is_that_of_the_first_vector() -> None:
    shown = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    assert Row(json.loads(shown[1]), None, KEPT).row_hash == VECTORS["rows"][0]["row_hash"]
