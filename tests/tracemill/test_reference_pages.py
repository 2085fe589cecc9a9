"""The reference pages say what the code does."""

import importlib.util
from pathlib import Path

from typer.testing import CliRunner

from proxy.settings import ServeSettings
from tracemill.cli import app

DOCS = Path(__file__).parents[2] / "docs"


def test_the_settings_page_is_made_from_the_settings() -> None:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert (DOCS / "settings.md").read_text() == generate.settings_page(), "run `make docs`"
    for name in generate.WITHOUT_FLAG:
        assert name in ServeSettings.model_fields


def test_every_flag_that_the_settings_page_names_exists() -> None:
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    flags = [row.split("|")[2].strip(" `") for row in (DOCS / "settings.md").read_text().splitlines()[9:]]
    named = [flag for flag in flags if flag.startswith("--")]
    assert len(named) > 8
    assert [flag for flag in named if flag not in shown] == []
