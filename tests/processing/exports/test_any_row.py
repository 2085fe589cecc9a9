"""Whatever a row holds, a format takes it or says why not."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from processing.exports.column import Column
from processing.exports.format import Container
from processing.exports.formats import FORMATS
from processing.exports.image import Image
from processing.exports.preflight import Preflight, Tally, columns_of
from processing.exports.reason import CannotHoldError
from processing.exports.writing import line_bytes, open_lines
from store.datasets.row import Part, Row
from tests.processing.exports.versions import KEPT

texts = st.text(max_size=20) | st.sampled_from(["", " ", "{}", "[1]", '{"a": 1e999}', "<image>", "\ud800", "\u2028"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": values}),
    st.fixed_dictionaries({"type": texts}, optional={"text": values}),
    texts,
)
tool_calls = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({"name": texts, "arguments": texts | values})}, optional={"id": texts}
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "assistant", "tool"])},
    optional={
        "content": st.none() | texts | st.lists(parts, max_size=3),
        "tool_calls": st.lists(tool_calls, max_size=2),
        "weight": st.sampled_from([0, 1]),
        "reasoning_content": texts,
        "refusal": texts,
        "name": texts,
        "tool_call_id": texts,
        "extra": values,
    },
)
rows = st.fixed_dictionaries(
    {"row_id": st.just("r"), "messages": st.lists(messages, max_size=5) | values},
    optional={
        "tools": st.lists(values, max_size=2),
        "response_format": values,
        "prompt": st.none() | texts,
        "response": st.none() | texts,
        "metadata": values | st.dictionaries(st.sampled_from(["votes", "original_response", "tags"]), values),
        "relabel__trace": values,
        "context": values,
    },
)


@settings(max_examples=150, deadline=None)
@given(content=rows, part=st.sampled_from([Part.TRAIN, Part.UNSTRUCTURED, None]))
def test_a_format_takes_a_row_or_gives_a_reason(content: dict[str, Any], part: Part | None) -> None:
    row = Row(content, part, KEPT)
    for target in FORMATS.values():
        preflight, tally = Preflight(target, target.folder or Container.LINES), Tally()
        try:
            converted = preflight.convert(row)
        except CannotHoldError:
            continue
        tally.count(row, converted, part or Part.TRAIN)
        assert converted.lines, target.name
        for line in converted.lines:
            shown = {name: value for name, value in line.items() if not _is_images(value)}
            if target.folder is Container.PARQUET:
                written(line, columns_of(target, tally))
            assert line_bytes(shown).count(b"\n") == 1
            assert line.keys() <= columns_of(target, tally).keys() or not target.columns or part is Part.UNSTRUCTURED


def written(line: dict[str, Any], columns: dict[str, Column]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "one.parquet")
        file = open_lines(path, Container.PARQUET, columns)
        file.write(line)
        file.close()
        assert parquet.read_metadata(path).num_rows == 1


def _is_images(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, Image) for item in value)
