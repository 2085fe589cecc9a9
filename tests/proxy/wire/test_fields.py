"""Fields are found by name, in whatever case and however often they stand there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.fields import Fields, Names, first, head_fields, names_of, values
from proxy.wire.head import parse_request_head

NAMES = st.sampled_from([b"Host", b"HOST", b"accept", b"Accept", b"X-A", b"x-b"])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=3)), max_size=12)


@given(fields=FIELDS, name=st.sampled_from([b"host", b"accept", b"x-a", b"x-none"]))
def test_those_of_a_head_and_any_others_are_found_alike(fields: Fields, name: bytes) -> None:
    found = [value for key, value in fields if key.lower() == name]
    for each in (fields, head_fields(fields, 100), head_fields(fields, 1 << 20)):
        assert values(each, name) == found
        assert first(each, name) == (found[0] if found else None)


@given(fields=FIELDS)
def test_names_tell_where_each_field_stands(fields: Fields) -> None:
    names = names_of(head_fields(fields, 100))
    assert names.lower == tuple(name.lower() for name, _ in fields)
    assert sorted(place for places in names.places.values() for place in places) == list(range(len(fields)))
    assert all(names.lower[place] == name for name, places in names.places.items() for place in places)


@pytest.mark.parametrize(("field_bytes", "is_remembered"), [(100, True), (40_000, False)])
def test_names_of_usual_heads_are_remembered_and_no_value_ever_is(field_bytes: int, is_remembered: bool) -> None:
    """What is remembered outlives the call, so it must hold no key and be no way to fill the memory."""

    def names(key: bytes) -> Names:
        head = b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: %b\r\nX-Pad: %b\r\n\r\n" % (key, b"x" * field_bytes)
        return names_of(parse_request_head(head).fields)

    one, other = names(b"sk-canary-1"), names(b"sk-canary-2")
    assert (one is other) is is_remembered
    assert not any(b"canary" in text for text in (*one.lower, *one.places))
