"""`tracemill datasets`: what people see of versions."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from store.datasets.dataset_store import DatasetStore
from store.datasets.decision import Decision, DecisionKind
from store.datasets.row import Part, Row, RowEnd, RowState
from store.datasets.version import Birth
from tests.store.datasets.rows import DROPPED, KEPT, row
from tracemill.dataset_commands import datasets
from tracemill.doctor.checkup import examine

NAME = "invoice-extraction"


async def fill(data_dir: Path) -> None:
    """Make the seed's three versions, in small."""
    waiting = RowEnd(RowState.REVIEW, "judge", "below_threshold")
    async with await DatasetStore.open(data_dir / "work.db") as store:
        first = [row(number, part=Part.TEST if number % 4 == 0 else Part.TRAIN) for number in range(8)]
        async with store.birth(NAME, birth=Birth.UPLOAD, manifest={"seed": 7, "models": ["big"]}, freeze=True) as born:
            await born.add_rows(first)
        rows = [*first, row(8), row(9, end=waiting), row(10, end=waiting), row(11, end=DROPPED)]
        how = {"birth": Birth.UPLOAD, "manifest": {}, "note": "stricter judge threshold", "freeze": True}
        async with store.birth(NAME, **how) as born:  # type: ignore[arg-type]
            await born.add_rows([*rows[1:], row(0, "changed", part=None)])
        active = await store.open_version(NAME, birth=Birth.CURATE, manifest={})
        for one in (row(9), row(10)):
            await store.note_decision(Decision(NAME, one.learned_hash, DecisionKind.ACCEPT, "ann", one.row_id))
        await store.set_ends(active, {row(number).row_id: KEPT for number in (9, 10)})
        await store.add_rows(active, [Row({**row(12).content, "prompt": "\x1b[2Jhi"}, None, KEPT)])


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    asyncio.run(fill(folder))
    return folder


def run(data_dir: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(datasets, [*words, "--data-dir", str(data_dir)])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.output


def test_lists_look_as_the_product_was_described(data_dir: Path) -> None:
    expected = (
        "invoice-extraction-v1  (frozen, 8 rows)\n"
        "invoice-extraction-v2  (frozen, 9 rows, stricter judge threshold)\n"
        "invoice-extraction-v3  (active, 9 rows + 2 newly reviewed + 1 new)\n"
    )
    assert run(data_dir, "list") == run(data_dir, "versions", NAME) == expected
    (listed,) = [json.loads(line) for line in run(data_dir, "list", "--json").splitlines()]
    assert (listed["dataset"], listed["versions"], listed["active"]) == (NAME, 3, "invoice-extraction-v3")
    told = [json.loads(line) for line in run(data_dir, "versions", NAME, "--json").splitlines()]
    assert [(one["label"], one["state"], one["counts"]["rows"]) for one in told] == [
        ("invoice-extraction-v1", "frozen", 8),
        ("invoice-extraction-v2", "frozen", 9),
        ("invoice-extraction-v3", "active", 12),
    ]


def test_without_any_dataset_the_list_is_empty_and_a_name_is_an_error(tmp_path: Path) -> None:
    assert run(tmp_path, "list") == ""
    assert "there is no database yet" in run(tmp_path, "show", "x", code=1)
    assert list(tmp_path.iterdir()) == []


def test_a_version_is_shown_with_what_made_it_and_its_warnings(data_dir: Path) -> None:
    text = run(data_dir, "show", f"{NAME}-v1")
    told = json.loads(run(data_dir, "show", f"{NAME}-v1", "--json"))
    assert told["hash"] in text
    assert told["test_hash"] in text
    for said in (
        "8 in: 8 kept, 0 dropped",
        "6 train, 2 test",
        'models     ["big"]',
        "seed       7",
        "curation was skipped",
    ):
        assert said in text
    assert told["manifest"]["warnings"] == told["warnings"]
    assert "has no version 9" in run(data_dir, "show", f"{NAME}-v9", code=1)


def test_rows_are_listed_and_cannot_steer_the_terminal(data_dir: Path) -> None:
    text = run(data_dir, "rows", NAME)
    assert "\x1b" not in text
    assert "\\u001b[2Jhi -> yes" in text
    (dropped,) = run(data_dir, "rows", NAME, "--state", "dropped").splitlines()
    assert dropped.startswith("r_0000011")
    assert "dropped (low_relevance)" in dropped
    told = json.loads(run(data_dir, "rows", NAME, "--row", "r_0000011", "--json"))
    assert (told["part"], told["end"]["detail"], told["row"]["response"]) == ("train", {"relevance": 2}, "yes")
    assert len(run(data_dir, "rows", NAME, "--part", "test", "--limit", "1").splitlines()) == 1
    assert 'no row "x"' in run(data_dir, "rows", NAME, "--row", "x", code=1)


def test_versions_are_compared_row_by_row(data_dir: Path) -> None:
    told = json.loads(run(data_dir, "diff", f"{NAME}-v1", f"{NAME}-v2", "--json"))
    assert (told["added"], told["removed"], told["changed"], told["moved"]) == (
        ["r_0000008"],
        [],
        ["r_0000000"],
        ["r_0000000"],
    )
    assert "added          1  r_0000008" in run(data_dir, "diff", f"{NAME}-v1", f"{NAME}-v2")


def test_freezing_is_done_once_and_discarding_never_to_a_frozen_version(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path))
    assert "never changes" in run(tmp_path, "discard", f"{NAME}-v2", code=1)
    frozen = json.loads(run(tmp_path, "freeze", NAME, "--note", "reviewed", "--json"))
    assert (frozen["label"], frozen["state"], frozen["note"]) == (f"{NAME}-v3", "frozen", "reviewed")
    assert json.loads(run(tmp_path, "freeze", NAME, "--json")) == frozen
    assert json.loads(run(tmp_path, "freeze", f"{NAME}-v3", "--json")) == frozen
    assert "no active version" in run(tmp_path, "discard", NAME, code=1)


def test_a_damaged_version_is_named_and_the_others_are_not(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path))
    assert run(tmp_path, "verify").count("sound") == 3
    found = {each.kind.name: each for each in examine(tmp_path, None, progress=lambda _done, _all: None)}
    assert found["versions_sound"].facts == {"versions": 3, "rows": 33, "erased": 0}
    assert "version_damaged" not in found
    with closing(sqlite3.connect(tmp_path / "work.db")) as database:
        database.execute("DROP TRIGGER frozen_rows_stay")
        database.execute("UPDATE version_rows SET part = 'test' WHERE version = 1 AND row_id = 'r_0000001'")
        database.commit()
    found = {each.kind.name: each for each in examine(tmp_path, None, progress=lambda _done, _all: None)}
    assert found["version_damaged"].what.startswith(f"{NAME}-v1: 3 problems; the first: ")
    assert found["versions_unguarded"].facts == {"triggers": ["frozen_rows_stay"]}
    text = run(tmp_path, "verify", code=1)
    assert f"{NAME}-v1  (frozen, 8 rows): DAMAGED, 3 problems" in text
    assert f"{NAME}-v2  (frozen, 12 rows): sound" in text
    assert "the trigger frozen_rows_stay is missing" in text
    told = json.loads(run(tmp_path, "verify", f"{NAME}-v2", "--json", code=1))
    assert ([one["is_sound"] for one in told["versions"]], told["missing_triggers"]) == ([True], ["frozen_rows_stay"])
