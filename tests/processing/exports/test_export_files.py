"""Where exports go: whole or not at all, the owner's alone, the same bytes for the same version."""

import hashlib
import json
import os
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from processing.errors import InputError
from processing.exports.card import card
from processing.exports.destination import Destination
from processing.exports.export import export_version
from processing.exports.files import ExportFiles
from processing.exports.format import Container
from processing.exports.formats import FORMATS
from processing.exports.preflight import Preflight, Tally
from processing.exports.wanted import Wanted
from store import json_text
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part, Row
from store.datasets.version import Birth
from tests.processing.exports.versions import (
    KEPT,
    SEPARATORS,
    data_url,
    dataset,
    export,
    in_order,
    made,
    picture,
    png,
    says,
    telling_rows,
    user,
)

JOB = {"job_description": {"task_description": "Answer."}}
ROWS = [*telling_rows(), made(user("p"), says("good"), original_response="bad")]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FORMATS)
async def test_the_same_rows_in_any_order_give_the_same_bytes_and_a_manifest_of_them(tmp_path: Path, name: str) -> None:
    pictured = made(user([picture(png())]), says("red"))
    rows = [*ROWS, pictured]
    for folder, given in (("a", rows), ("b", rows[::-1])):
        await export(tmp_path / folder, given[1:-1], Wanted(name, tmp_path / folder / "out"), manifest=JOB)
    one, two = contents(tmp_path / "a" / "out"), contents(tmp_path / "b" / "out")

    assert one == two
    manifest = json.loads(one.pop("manifest.json"))
    assert manifest["files"].keys() == one.keys()
    assert {path: found["sha256"] for path, found in manifest["files"].items()} == {
        path: hashlib.sha256(content).hexdigest() for path, content in one.items()
    }
    assert manifest["version"]["label"] == "set-v1"
    assert len(manifest["version"]["hash"]) == 64


async def test_files_are_the_owners_alone_and_nothing_else_is_left(tmp_path: Path) -> None:
    rows = [*ROWS, made(user([picture(png())]), says("red"))]
    await export(tmp_path / "store", rows, Wanted("sharegpt", tmp_path / "out"))

    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {path.name for path in tmp_path.iterdir()} == {"store", "out", "out.left-out.jsonl"}


async def test_a_single_file_has_its_manifest_beside_it(tmp_path: Path) -> None:
    found = await export(tmp_path / "store", ROWS, Wanted("rows", tmp_path / "all.jsonl"))

    raw = (tmp_path / "all.jsonl").read_bytes()
    assert [json_text.loads(line) for line in raw.split(b"\n")[:-1]] == in_order(ROWS)
    manifest = json.loads((tmp_path / "all.jsonl.manifest.json").read_bytes())
    assert manifest["files"]["all.jsonl"] == {
        "bytes": len(raw),
        "lines": len(ROWS),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
    assert found.out == tmp_path / "all.jsonl"


async def test_separators_that_end_lines_for_some_readers_are_escaped(tmp_path: Path) -> None:
    await export(tmp_path / "store", ROWS, Wanted("openai", tmp_path / "all.jsonl"))

    text = (tmp_path / "all.jsonl").read_text(encoding="utf-8")

    assert len(text.splitlines()) == len(ROWS)
    assert any(SEPARATORS in json.loads(line)["messages"][0]["content"] for line in text.splitlines())


@pytest.mark.parametrize("name", ["rows", "csv", "parquet"])
async def test_one_file_is_of_one_part_and_never_drops_another_in_silence(tmp_path: Path, name: str) -> None:
    end = ".jsonl" if name == "rows" else f".{name}"
    async with dataset(tmp_path, ROWS[:2], ROWS[2:3]) as store:
        with pytest.raises(InputError, match=r"has train, test\. Name one of them with --part"):
            await export_version(store, "set", Wanted(name, tmp_path / f"all{end}"))
        found = await export_version(store, "set", Wanted(name, tmp_path / f"test{end}", part=Part.TEST))

    assert found.manifest["parts"] == {"test": {"rows": 1, "lines": 1}}
    assert not (tmp_path / f"all{end}").exists()


async def test_a_name_that_ends_like_another_container_is_refused(tmp_path: Path) -> None:
    async with dataset(tmp_path, ROWS[:1]) as store:
        with pytest.raises(InputError, match=r"is not what csv is kept in. Name a folder, or name.csv"):
            await export_version(store, "set", Wanted("csv", tmp_path / "all.jsonl"))
        with pytest.raises(InputError, match=r'"nonsense" is none\. There are rows, openai'):
            await export_version(store, "set", Wanted("nonsense", tmp_path / "out"))


_LOOK = """
import sys
from pathlib import Path
from processing.errors import InputError
from processing.exports.destination import Destination
seen = []
sys.addaudithook(lambda event, given: seen.append(str(given[0])) if event in ("os.scandir", "os.listdir") else None)
try:
    Destination(Path(sys.argv[1]), is_folder=True, force=True)
except InputError as exc:
    print(str(exc), *seen, sep="\\n")
"""


def test_somebody_elses_folder_is_refused_at_once_and_not_walked_through(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "photos" / "summer").mkdir(parents=True)
    # To open one that nobody writes to would wait for ever.
    os.mkfifo(home / "manifest.json")
    command = [sys.executable, "-c", _LOOK, str(home)]
    said, *seen = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
    assert "which no export made. Choose another --output." in said
    assert seen == [str(home)]
    with pytest.raises(InputError, match=r"^/: holds .*, which no export made"):
        Destination(Path("/"), is_folder=True, force=True)


async def test_nothing_that_stands_there_is_replaced_without_force_and_nothing_foreign_ever(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with dataset(tmp_path, ROWS[:2]) as store:
        out.mkdir()
        (out / "mine.txt").write_text("keep")
        for force in (False, True):
            with pytest.raises(InputError, match=r"holds mine.txt, which no export made"):
                await export_version(store, "set", Wanted("openai", out, force=force))
        (out / "mine.txt").unlink()
        await export_version(store, "set", Wanted("openai", out))
        with pytest.raises(InputError, match=r"holds an export already\. --force replaces it"):
            await export_version(store, "set", Wanted("trl", out))
        await export_version(store, "set", Wanted("trl", out, force=True))
        assert set(contents(out)) == {"README.md", "manifest.json", "data/train-00000-of-00001.parquet"}
        (out / "data" / "mine.parquet").write_text("mine")
        with pytest.raises(InputError, match=r"holds data/mine.parquet"):
            await export_version(store, "set", Wanted("trl", out, force=True))
        (out / "data" / "mine.parquet").unlink()
        (out / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match=r"holds notes.txt"):
            await export_version(store, "set", Wanted("trl", out, force=True))
        file = tmp_path / "one.jsonl"
        file.write_text("mine")
        with pytest.raises(InputError, match=r"is there already\. --force"):
            await export_version(store, "set", Wanted("rows", file))
        with pytest.raises(InputError, match="belongs to a data directory"):
            await export_version(store, "set", Wanted("rows", tmp_path / "work.db", force=True))
        with pytest.raises(InputError, match="is not a folder"):
            await export_version(store, "set", Wanted("rows", tmp_path / "missing" / "out"))
    assert (out / "notes.txt").read_text() == "mine"
    assert file.read_text() == "mine"


async def test_an_export_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dataset(tmp_path / "", ROWS[:2]) as store:
        await export_version(store, "set", Wanted("openai", tmp_path / "out"))
        before = contents(tmp_path / "out")

        def full(*_: object) -> bytes:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("processing.exports.files.card.card", full)
        with pytest.raises(OSError, match="No space"):
            await export_version(store, "set", Wanted("openai", tmp_path / "out", force=True))

    assert contents(tmp_path / "out") == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tracemill-export")]


async def test_strict_writes_nothing_when_a_row_would_be_left_out(tmp_path: Path) -> None:
    rows = [made(user("a"), says("b")), made(user("c"), user("d"), says("e"))]
    async with dataset(tmp_path, rows) as store:
        for check in (False, True):
            with pytest.raises(InputError, match=r"sharegpt cannot hold all rows \(1 turns_do_not_alternate\)"):
                await export_version(store, "set", Wanted("sharegpt", tmp_path / "out", strict=True, check=check))
        with pytest.raises(InputError, match="no row can be written as dpo"):
            await export_version(store, "set", Wanted("dpo", tmp_path / "out"))

    assert not (tmp_path / "out").exists()


async def test_an_active_version_is_exported_with_a_word_of_warning(tmp_path: Path) -> None:
    async with dataset(tmp_path, [], unsplit=ROWS[:3], freeze=False) as store:
        found = await export_version(store, "set-v1", Wanted("rows", tmp_path / "out"))

    assert [note.partition(":")[0] for note in found.notes] == [
        "set-v1 is active",
        "3 rows are not split yet and count as train.",
    ]
    assert "active: it may still change" in (tmp_path / "out" / "README.md").read_text()
    assert found.manifest["parts"] == {"train": {"rows": 3, "lines": 3}}


async def test_a_version_that_changes_while_it_is_written_is_not_exported(tmp_path: Path) -> None:
    async with dataset(tmp_path, ROWS[:2], freeze=False) as store:
        version = await store.version("set-v1")
        target = FORMATS["rows"]
        preflight, tally = Preflight(target, Container.LINES), Tally()
        async for row in store.rows(version):
            tally.count(row, preflight.convert(row), Part.TRAIN)
        await store.add_rows(version, [Row(ROWS[2], Part.TRAIN, KEPT)])
        place = Destination(tmp_path / "out", is_folder=True, force=False)

        files = ExportFiles(target, Container.LINES, place, tally, preflight, is_folder=True)

        with place, pytest.raises(InputError, match=r"the version changed meanwhile\. Run it again"):
            await files.write_rows(store.rows(version))

    assert not place.work.exists()


async def test_a_bare_name_is_the_newest_frozen_version(tmp_path: Path) -> None:
    async with dataset(tmp_path, ROWS[:2]) as store:
        async with store.birth("set", birth=Birth.UPLOAD, manifest={}) as born:
            await born.add_rows([Row(ROWS[3], Part.TRAIN, KEPT)])
        bare = await export_version(store, "set", Wanted("rows", check=True))
        named = await export_version(store, "set-v2", Wanted("rows", check=True))

    assert bare.manifest["version"]["label"] == "set-v1"
    assert named.manifest["version"]["state"] == "active"


async def test_a_frozen_version_with_erased_rows_is_exported_only_when_that_is_said(tmp_path: Path) -> None:
    async with dataset(tmp_path, ROWS[:3]) as store:
        await erase_one(store)
        with pytest.raises(InputError, match=r"1 of its rows were erased .* --without-erased writes the others"):
            await export_version(store, "set", Wanted("rows", tmp_path / "out"))
        found = await export_version(store, "set", Wanted("rows", tmp_path / "out", without_erased=True))

    assert found.manifest["left_out"] == {"erased": 1}
    assert found.manifest["parts"] == {"train": {"rows": 2, "lines": 2}}


async def erase_one(store: DatasetStore) -> None:
    version = await store.version("set")
    rows = [row async for row in store.rows(version)]
    hash_ = bytes.fromhex(rows[0].row_hash)

    def erase(db: Any) -> None:
        values = (hash_, 1, "2026-01-01T00:00:00.000Z")
        db.execute("INSERT INTO erased_rows (row_hash, change, erased_at) VALUES (?, ?, ?)", values)
        db.execute("DELETE FROM row_contents WHERE row_hash = ?", (hash_,))

    await store.transact(erase)


def test_a_hostile_name_or_note_stays_text_in_the_card() -> None:
    evil = "x\n---\nlicense: mit\nconfigs: [] # <script>alert(1)</script> [a](javascript:b) `c` | \u202e"
    manifest: Mapping[str, Any] = {
        "version": {
            "dataset": evil,
            "label": evil,
            "state": "frozen",
            "note": evil,
            "hash": "00",
            "test_hash": None,
            "rows": dict.fromkeys(("entered", "kept", "dropped", "failed", "review"), 1),
            "manifest": {"funnel": [{"stage": evil, "of": "x", "in": 1, "out": 0, "ended": {evil: 1}}]},
        },
        "parts": {"train": {"rows": 1, "lines": 1}},
        "left_out": {},
        "not_carried": {},
        "unsplit": 0,
        "models": {evil: 1},
        "warnings": [evil],
    }
    target = FORMATS["openai"]

    text = card(target, manifest, {evil: evil}, target.columns).decode()

    _, front, body = text.split("---\n", 2)
    assert set(yaml.safe_load(front)) == {"license", "configs", "dataset_info"}
    assert yaml.safe_load(front)["license"] is None
    assert yaml.safe_load(front)["configs"][0]["data_files"] == [{"split": evil, "path": evil}]
    assert "<script>" not in body
    assert "](" not in body
    assert "\u202e" not in body
    assert body.count("license: mit") == body.count("\\# \\<script\\>")


async def test_cells_that_spreadsheets_run_are_counted_and_kept_as_they_are(tmp_path: Path) -> None:
    found = await export(tmp_path / "store", ROWS, Wanted("csv", tmp_path / "all.csv"))

    assert found.notes[0].startswith("2 cells begin with a sign that a spreadsheet takes for a formula")
    assert '"=HYPERLINK(1)"' in (tmp_path / "all.csv").read_text(encoding="utf-8")


async def test_big_integers_and_nulls_survive_in_our_own_lines(tmp_path: Path) -> None:
    row = made(user("a"), says("b"), number=10**30, tiny=5e-324, none=None, picture=data_url(png()))

    await export(tmp_path / "store", [row], Wanted("rows", tmp_path / "all.jsonl"))

    assert json_text.loads((tmp_path / "all.jsonl").read_bytes()) == row


async def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    rows = [made(user(f"{number} {'word ' * 800}"), says("a")) for number in range(3000)]
    async with dataset(tmp_path, rows) as store:
        tracemalloc.start()
        try:
            found = await export_version(store, "set", Wanted("rows", tmp_path / "out"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    # The rows of a few batches of 200, of 24 MB.
    assert found.manifest["files"]["train.jsonl"]["bytes"] > 24_000_000
    assert peak < 15_000_000


async def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    async with dataset(tmp_path, ROWS[:2]) as store:
        with pytest.raises(InputError, match=r"pip install 'tracemill\[parquet\]'"):
            await export_version(store, "set", Wanted("hf", tmp_path / "out"))
        found = await export_version(store, "set", Wanted("csv", tmp_path / "csv"))

    assert found.manifest["parts"]["train"]["rows"] == 2
    assert not (tmp_path / "out").exists()
