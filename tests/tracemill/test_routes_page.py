"""docs/routes.md: its files load, and its calls go where it says."""

import re
from pathlib import Path

import pytest

from proxy.calls.routes import ByModel
from proxy.settings import ServeSettings
from proxy.settings_source import load_settings

PAGE = (Path(__file__).parents[2] / "docs" / "routes.md").read_text()
FILES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CALLS = re.findall(r"^\| `(/[^`]*)` \| (?:`([^`]*)`|–) \| `([^`]*)` \|$", PAGE, re.MULTILINE)


def load(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ServeSettings:
    for name in re.findall(r"api_key_env: (\w+)", text):
        monkeypatch.setenv(name, "a-key")
    file = folder / "tracemill.yaml"
    file.write_text(text)
    return load_settings({}, file)


def test_the_page_has_examples() -> None:
    assert len(FILES) == 2
    assert len(CALLS) == 10


@pytest.mark.parametrize("text", FILES, ids=range(len(FILES)))
def test_every_file_of_the_page_loads(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(text, tmp_path, monkeypatch).routes


@pytest.mark.parametrize(("asked", "model", "goes_to"), CALLS)
def test_every_call_of_the_page_goes_where_it_says(
    asked: str, model: str, goes_to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load(FILES[0], tmp_path, monkeypatch).route_table().match(asked.encode())
    if isinstance(found, ByModel):
        found = found.match_model(model or None)
    assert found.route.origin + found.target.decode() == goes_to
