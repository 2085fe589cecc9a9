from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.assembly.sse import Event, EventParser, EventTooLargeError


def parse(*blocks: bytes, bound: int = 1_000_000) -> list[Event]:
    parser = EventParser(max_event_bytes=bound)
    return [event for block in blocks for event in parser.feed(block)] + parser.finish()


def datas(*blocks: bytes) -> list[bytes]:
    return [event.data for event in parse(*blocks)]


def byte_by_byte(text: bytes) -> list[bytes]:
    return [text[i : i + 1] for i in range(len(text))]


CASES = [
    (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
    (b"data:a\n\n", [b"a"]),
    (b"data:  a\n\n", [b" a"]),
    (b"data\n\n", [b""]),
    (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
    (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    (b": OPENROUTER PROCESSING\n\n: ping\n\ndata: a\n\n", [b"a"]),
    (b"event: x\n\n\n\n", []),
    (b"nonsense: 1\nretry: 10\ndata: a\n\n", [b"a"]),
    ("data: 漢字🙂é\n\n".encode(), ["漢字🙂é".encode()]),
    ("data: a\u2028b\x0bc\x85\n\n".encode(), ["a\u2028b\x0bc\x85".encode()]),
    (b"data: {\xff\xfe}\n\n", [b"{\xff\xfe}"]),
    (b"data: a\n\ndata: [DONE]", [b"a", b"[DONE]"]),
    (b"", []),
    (b"\xef\xbb", []),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_events_are_found_whole_and_byte_by_byte(text: bytes, expected: list[bytes]) -> None:
    assert datas(text) == expected
    assert datas(*byte_by_byte(text)) == expected


def test_an_event_carries_its_name_and_the_last_id() -> None:
    first, second, third = parse(b"event: error\nid: 7\ndata: a\n\ndata: b\n\nid: 1\x002\ndata: c\n\n")
    assert (first.name, first.last_id) == ("error", "7")
    assert (second.name, second.last_id) == ("message", "7")
    assert third.last_id == "7"


def test_what_stands_after_the_last_blank_line_is_marked() -> None:
    """A stream cut mid-event: the piece is worth a look, but it may be torn."""
    whole, torn = parse(b'data: {"a":1}\n\ndata: {"a"')
    assert whole.is_terminated
    assert not torn.is_terminated
    assert torn.data == b'{"a"'


@given(st.integers(min_value=0, max_value=40))
def test_a_line_end_cut_in_the_middle_is_one_line_end(cut: int) -> None:
    text = b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n"
    assert datas(text[:cut], text[cut:]) == [b"a\nb", b"c"]


_PIECES = [
    b"data: a",
    b"data:b",
    b"data",
    b"",
    b": c",
    b"event: e",
    b"id: 1",
    "data: 漢🙂".encode(),
    b"\xef\xbb\xbf",
    b"x",
]
_LINES = st.lists(st.sampled_from(_PIECES), max_size=12)


@given(_LINES, st.sampled_from([b"\n", b"\r", b"\r\n"]), st.lists(st.integers(0, 200), max_size=6))
def test_any_splitting_gives_the_same_events(lines: list[bytes], end: bytes, cuts: list[int]) -> None:
    text = end.join(lines)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    blocks = [text[a:b] for a, b in pairwise(edges)]
    assert parse(*blocks) == parse(text)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_parse_the_same_however_they_are_cut(text: bytes, cut: int) -> None:
    assert parse(text[:cut], text[cut:]) == parse(text) == parse(*byte_by_byte(text))


@pytest.mark.parametrize("text", [b"data: " + b"x" * 200, b"x" * 200, b"data: 123456789\n" * 20])
def test_an_event_past_the_bound_is_refused(text: bytes) -> None:
    with pytest.raises(EventTooLargeError, match="100 bytes"):
        parse(text, bound=100)


def test_keep_alive_comments_never_add_up_to_a_large_event() -> None:
    assert [event.data for event in parse(b": ping\n" * 1000 + b"data: a\n\n", bound=100)] == [b"a"]


def test_an_event_has_the_id_that_came_last_even_in_an_event_without_data() -> None:
    first, second = parse(b"id: 1\nevent: x\n\ndata: a\n\nid\ndata: b\n\n")
    assert (first.name, first.last_id, first.data) == ("message", "1", b"a")
    assert second.last_id == ""


def test_large_events_after_each_other_are_each_within_the_bound() -> None:
    assert len(parse(b"data: " + b"x" * 90 + b"\n\n" + b"data: " + b"y" * 90 + b"\n\n", bound=100)) == 2


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_character_cut_anywhere_is_whole(end: bytes) -> None:
    text = end.join(["data: {漢字🙂".encode(), "data: é}".encode(), b"", b""])
    assert {tuple(datas(text[:at], text[at:])) for at in range(len(text) + 1)} == {("{漢字🙂\né}".encode(),)}
