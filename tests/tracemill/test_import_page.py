"""What docs/import.md shows is what an import gives."""

import json
import re
from pathlib import Path

import pytest

from store.recorded.import_reading import ImportReader
from store.recorded.source_format import SourceFormat
from store.trace import Flag, Trace
from store.trace_json import trace_json

PAGE = (Path(__file__).parents[2] / "docs" / "import.md").read_text()
EXAMPLES = re.findall(r"^### (\w+)\n.*?```json\n(.*?)```\n\n```json trace\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("source_format", "line", "shown"), EXAMPLES, ids=[example[0] for example in EXAMPLES])
def test_each_example_line_becomes_the_trace_that_is_shown(source_format: str, line: str, shown: str) -> None:
    reader = ImportReader()
    (trace,) = reader.read([line.encode()], "import.md")
    assert isinstance(trace, Trace)
    given = json.loads(trace_json(trace))
    assert {name: given[name] for name in json.loads(shown)} == json.loads(shown)
    assert reader.files[0].formats == {source_format: 1}


def test_every_format_has_its_example_or_is_named() -> None:
    assert len(EXAMPLES) == 5
    assert all(source_format.value in PAGE for source_format in SourceFormat)


def test_every_flag_of_imports_is_explained() -> None:
    assert all(f"`{flag.value}`" in PAGE for flag in (Flag.IMPORTED, Flag.TIME_UNTOLD, Flag.OUTCOME_UNTOLD))
