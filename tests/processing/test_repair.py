from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processing.repair import MAX_ERROR_CHARS, RepairError, check, find_json
from store import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_a_value_is_found_bare_in_fences_and_in_prose(value: dict[str, object]) -> None:
    text = json_text.dumps(value).decode()
    assert find_json(text).value == value
    if "```" not in text:
        assert find_json(f"Sure!\n```json\n{text}\n```\nDone.").value == value
    assert find_json(f"The answer is {text} as you see.").value == value


@pytest.mark.parametrize("text", ["", "no json", "{broken", '{"a":1} or {"a":2}', "```json\n{oops\n```", "NaN"])
def test_anything_but_one_value_is_an_error(text: str) -> None:
    with pytest.raises(RepairError):
        find_json(text)


def test_an_error_tells_path_and_rule_and_is_short() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"enum": ["x"]}}}}
    with pytest.raises(RepairError, match=r"^at /a/1: ") as caught:
        check({"a": ["x", "long " * 1000]}, schema)
    assert len(str(caught.value)) <= MAX_ERROR_CHARS


def test_schemas_are_never_fetched(tmp_path: Path) -> None:
    elsewhere = tmp_path / "schema.json"
    elsewhere.write_text('{"type": "string"}')
    check({"a": 1}, {"$ref": elsewhere.as_uri()})
