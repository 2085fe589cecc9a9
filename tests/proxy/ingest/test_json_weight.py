"""The count that keeps one body from holding up everybody's."""

import json

from hypothesis import given
from hypothesis import strategies as st

from proxy.ingest.json_weight import has_more_values, weigh
from store.json_text import JsonValue

values = st.recursive(
    st.none() | st.integers() | st.text(alphabet='ab",[{\\\n\u2028é'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='",[{\\'), inner),
    max_leaves=20,
)


def weight(value: JsonValue) -> int:
    if not isinstance(value, list | dict):
        return 0
    items = list(value.values()) if isinstance(value, dict) else value
    return 1 + max(len(items) - 1, 0) + sum(weight(item) for item in items)


@given(values, st.booleans())
def test_what_stands_inside_strings_does_not_count(value: JsonValue, is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii).encode()
    assert weigh(text) == weight(value)
    assert has_more_values(text, weight(value)) is False
    assert has_more_values(text, weight(value) - 1) is True


def test_a_broken_text_is_counted_in_one_pass() -> None:
    """Looked for from every escaped quote anew, the end of this string would take hours."""
    assert has_more_values(b'["' + b'\\",' * 1_000_000, 100) is False
