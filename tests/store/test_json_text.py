import json
import re

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.json_text import (
    INEXACT,
    JsonTextError,
    compact,
    compact_value,
    dumps,
    elements,
    exact_value,
    loads,
    long_strings,
    members,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


# Texts as anybody may write them: white space anywhere, numbers and escapes spelt oddly, keys twice, and no JSON.
_SPACE = st.sampled_from(["", "", "", " ", "\n\t", "\r "])
_PIECES = st.sampled_from(
    ["a", " ", "é", "\u2028", "\\\\", '\\"', "\\n", "\\/", "\\u0041", "\\ud83d\\ude00", "\\ud800", "\\u001F"]
)
_STRINGS = st.lists(_PIECES, max_size=4).map(lambda pieces: '"' + "".join(pieces) + '"')
_NUMBERS = [
    "0",
    "-0",
    "-0.0",
    "7",
    "1.0",
    "1.50",
    "1E5",
    "1e22",
    "1e-7",
    "0.1",
    "1e400",
    "18446744073709551616",
    "-9223372036854775809",
]
_WRONG = ["NaN", "01", "tru e", '"\x01"', "[1,]", '{"a":1,}', "1 2", "\ufeff1", '{"a"}', "9" * 4400]


def _spaced(pieces: list[str], spaces: list[str]) -> str:
    return "".join(space + piece for space, piece in zip(spaces, pieces, strict=False)) + "".join(spaces[:1])


def _listed(items: list[str], brackets: str, spaces: list[str]) -> str:
    pieces = [piece for item in items for piece in (item, ",")][:-1]
    return _spaced([brackets[0], *pieces, brackets[1]], spaces)


_SPACES = st.lists(_SPACE, min_size=12, max_size=12)
TEXTS = st.recursive(
    _STRINGS | st.sampled_from([*_NUMBERS, "true", "null"]) | st.sampled_from(_WRONG),
    lambda inner: st.one_of(
        st.builds(lambda items, spaces: _listed(items, "[]", spaces), st.lists(inner, max_size=4), _SPACES),
        st.builds(
            lambda pairs, spaces: _listed([f"{key}{spaces[0]}:{spaces[1]}{item}" for key, item in pairs], "{}", spaces),
            st.lists(st.tuples(_STRINGS, inner), max_size=4),
            _SPACES,
        ),
    ),
    max_leaves=8,
).map(str.encode)
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^ \t\n\r]')


def _refuse(name: str) -> None:
    raise ValueError(name)


def plainly_read(text: bytes) -> object:
    """Read by the standard library alone; the exception's class stands for what it refuses."""
    try:
        return json.loads(text.removeprefix(b"\xef\xbb\xbf").decode(), parse_constant=_refuse)
    except ValueError:
        return ValueError


@settings(max_examples=600)
@given(TEXTS)
def test_any_text_is_read_and_cut_as_plainly_as_by_the_standard_library(text: bytes) -> None:
    """Most texts take a short way (`store.json_text`); it must never be told from the long one."""
    value = plainly_read(text)
    if value is ValueError:
        for read in (loads, compact, members, elements):
            with pytest.raises(JsonTextError):
                read(text)
        return
    stripped = b"".join(_TOKENS.findall(text.removeprefix(b"\xef\xbb\xbf")))
    assert repr(loads(text)) == repr(value), "-0.0 equals 0 and 1.0 equals 1, but not as they are written"
    assert compact(text) == stripped
    assert compact(stripped) == stripped
    for exact in (compact_value(text)[1], exact_value(stripped)):
        assert exact is INEXACT or (repr(exact) == repr(value) and orjson.dumps(exact) == stripped)
    if isinstance(value, dict):
        keys = [match[0] for match in re.finditer(rb'"(?:[^"\\]|\\.)*":', stripped)]
        cut = members(text)
        rest = stripped
        for key, item in cut:
            written = next(name for name in keys if rest[1:].startswith(name))
            assert json.loads(written[:-1]) == key
            assert rest[1:].startswith(written + item)
            rest = rest[len(written + item) + 1 :]
        assert rest == (b"}" if cut else b"{}")
        assert members(stripped) == cut
    if isinstance(value, list):
        assert b"[" + b",".join(elements(text)) + b"]" == stripped


def spread(value: object) -> bytes:
    """Write a value with white space wherever JSON allows it."""
    return json.dumps(value, indent="\t \r", separators=(" \n, ", " : ")).encode("ascii")


@given(VALUES)
def test_values_survive_writing_and_reading(value: object) -> None:
    assert loads(dumps(value)) == value


@given(VALUES)
def test_compact_strips_white_space_between_tokens_and_nothing_else(value: object) -> None:
    tight = json.dumps(value, separators=(",", ":")).encode("ascii")
    assert compact(spread(value)) == tight
    assert compact(tight) == tight


@given(VALUES)
def test_indented_text_is_stripped_like_any_other(value: object) -> None:
    for is_ascii in (True, False):
        tight = json.dumps(value, separators=(",", ":"), ensure_ascii=is_ascii).encode("utf-8", "replace")
        text = json.dumps(value, indent=2, ensure_ascii=is_ascii).encode("utf-8", "replace")
        assert compact(text + b"\n") == tight


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=())), VALUES), max_size=6))
def test_members_are_exact_slices_in_order_with_duplicates(pairs: list[tuple[str, object]]) -> None:
    body = b" , ".join(json.dumps(key).encode() + b" : " + spread(value) for key, value in pairs)
    found = members(b"\xef\xbb\xbf { " + body + b"\n}")
    assert [loads(json.dumps(key).encode()) for key, _ in pairs] == [key for key, _ in found]
    assert [text for _, text in found] == [compact(spread(value)) for _, value in pairs]


@given(st.lists(VALUES, max_size=6))
def test_elements_are_exact_slices_in_order(values: list[object]) -> None:
    assert elements(spread(values)) == [compact(spread(value)) for value in values]


@pytest.mark.parametrize(
    "text",
    [
        b"1e400",
        b"1.0",
        b"1E5",
        b"-0",
        b"123456789012345678901234567890",
        rb'"\u0000 \ud800 \udfff\ud800"',
        '"\u2028 \u2029"'.encode(),
        b'{"b":1,"a":2,"b":3}',
        b'" spaces \\" inside \\\\"',
        rb'"\/ \u0041"',
    ],
)
def test_text_is_kept_exactly_as_written(text: bytes) -> None:
    """What parsing and writing again would change: floats, escapes, order, duplicates."""
    assert compact(b" \n" + text + b"\t ") == text
    assert elements(b"[ " + text + b" , " + text + b" ]") == [text, text]
    assert members(b'{ "k" : ' + text + b" }") == [("k", text)]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"[1,]",
        b'{"a":1,}',
        b'{"a" 1}',
        b"{1:2}",
        b"1 2",
        b"NaN",
        b"[-Infinity]",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"a',
        b'"a\nb"',
        b"01",
        b"9" * 5000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_not_one_json_value_is_refused(text: bytes) -> None:
    with pytest.raises(JsonTextError):
        compact(text)


@pytest.mark.parametrize("cut", [members, elements])
@pytest.mark.parametrize(
    "text", [b"1", b"{", b"[", b"[1", b'{"a":1', b"[1] 2", b'{"a":1} 2', b"[1 2]", b'{"a":1 "b":2}', b"[,1]", b"{,}"]
)
def test_what_is_not_one_whole_object_or_array_is_refused(cut: object, text: bytes) -> None:
    assert callable(cut)
    with pytest.raises(JsonTextError):
        cut(text)


@pytest.mark.parametrize("text", [b'{"a":[1,"\xc3\xa9",true,null,-1.5]}', b'{ "a" : [ 1 ] }', b'{\n  "a": 1\n}\n'])
def test_an_ordinary_text_comes_with_its_value(text: bytes) -> None:
    tight, value = compact_value(text)
    assert value == json.loads(text)
    assert exact_value(tight) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_numbers_json_cannot_hold_are_not_written(value: object) -> None:
    with pytest.raises(JsonTextError):
        dumps(value)


def test_lone_surrogates_are_written_as_escapes_and_everything_else_as_utf8() -> None:
    assert dumps({"k\udc00": "é\ud800"}) == '{"k\\udc00":"é\\ud800"}'.encode()


@given(st.lists(st.text(st.sampled_from('ab"\\ \n'), max_size=12), max_size=6))
def test_long_strings_are_found_where_they_stand(texts: list[str]) -> None:
    text = compact(json.dumps(texts).encode())
    found = [text[start:end] for start, end in long_strings(text, 5)]
    written = [json.dumps(string).encode()[1:-1] for string in texts]
    assert found == [string for string in written if len(string) > 5]


def test_a_large_body_is_stripped_without_much_memory() -> None:
    """A string of a million escapes must not cost the regular expression a million saved positions."""
    text = b'{"a": "' + rb"\n" * 1_000_000 + b'"}'
    assert compact(text) == re.sub(rb": ", b":", text, count=1)
