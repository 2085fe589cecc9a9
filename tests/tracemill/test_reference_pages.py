"""The reference pages say what the code does."""

import re

import pytest
from typer.testing import CliRunner

from docs.generate import DOCS, PAGES
from docs.reference.filter import EXAMPLES
from proxy.admin.metrics import metrics_text
from proxy.settings import DEFAULTS
from store.filter import parse_filter
from tracemill.cli import app
from tracemill.serve_command import WITHOUT_FLAG


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_what_the_code_makes_it(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run `make docs`"


def test_settings_without_a_flag_are_settings() -> None:
    for name in WITHOUT_FLAG:
        assert name in DEFAULTS


def test_every_flag_that_the_settings_page_names_exists() -> None:
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    page = (DOCS / "settings.md").read_text().partition("## A route")[0]
    flags = [row.split("|")[2].strip(" `") for row in page.splitlines() if row.startswith("| `")]
    named = [flag for flag in flags if flag.startswith("--")]
    assert len(named) > 8
    assert [flag for flag in named if flag not in shown] == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_filter_page_is_a_filter(example: str) -> None:
    assert parse_filter(example).parameters


def cells(page: str, pattern: str) -> set[str]:
    return set(re.findall(rf"^\| `({pattern})` \|", page, re.MULTILINE))


def test_the_metrics_page_names_what_a_scrape_shows() -> None:
    shown = metrics_text(None, traces=0, dead_letters=0, journal_bytes=0).decode()
    names = set(re.findall(r"^# TYPE (\S+)", shown, re.MULTILINE))
    assert cells((DOCS / "metrics.md").read_text(), "tracemill_[a-z_]+") == names
