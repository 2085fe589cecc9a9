"""What docs/exports.md shows is what an export gives."""

import json
import re
from pathlib import Path

import pytest

from processing.exports.formats import FORMATS
from processing.exports.reason import LeftOut, NotCarried
from processing.exports.wanted import Wanted
from tests.processing.exports.versions import export, made, says, user

PAGE = (Path(__file__).parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")
ROWS = [json.loads(block) for block in re.findall(r"^```json row\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]
SECTIONS = dict(re.findall(r"^### ([a-z-]+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
SCRIPTS = re.findall(r"^```python (\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_lines_that_are_shown_are_those_of_the_row(name: str) -> None:
    shown = [
        json.loads(block) for block in re.findall(r"^```json line\n(.*?)^```", SECTIONS[name], re.MULTILINE | re.DOTALL)
    ]
    row = ROWS[1] if "dpo" in name else ROWS[0]

    assert shown == list(FORMATS[name].convert(row).lines)
    assert shown


def test_every_format_and_every_reason_is_told() -> None:
    table = re.findall(r"^\| `([a-z-]+)` \| folder", PAGE, re.MULTILINE)
    assert table == list(FORMATS)
    assert set(FORMATS) - set(SECTIONS) == {"rows", "csv", "parquet", "hf"}
    told = re.findall(r"^\| `([a-z_]+)` \| ", PAGE, re.MULTILINE)
    assert set(told) >= {str(reason) for reason in (*LeftOut, *NotCarried)}


@pytest.mark.parametrize(("name", "script"), SCRIPTS, ids=[name for name, _ in SCRIPTS])
@pytest.mark.slow
async def test_the_scripts_that_are_shown_read_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [made(user("a"), says("b"))]
    await export(tmp_path / "store", rows, Wanted(name, tmp_path / "out"))

    found: dict[str, object] = {}
    exec(script.replace("PATH", str(tmp_path / "out")), found)  # noqa: S102

    assert found.get("messages", rows[0]["messages"]) == rows[0]["messages"]
