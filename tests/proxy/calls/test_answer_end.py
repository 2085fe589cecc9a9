"""The mark that says: before this block goes out, the trace must be down."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.calls.answer_end import AnswerEnd, Mark

EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]
STREAM = b'data: {"a":"say \\"data: [DONE]\\" twice"}\n\n: comment\n\ndata: [DONE]\n\n'


def marks(headers: Sequence[tuple[bytes, bytes]], blocks: Sequence[bytes]) -> list[Mark]:
    end = AnswerEnd(b"POST", 200, headers, is_event_stream=EVENTS[0] in headers)
    return [end.mark(block) for block in blocks]


def test_a_sized_answer_ends_with_the_block_that_brings_its_last_byte() -> None:
    assert marks([(b"Content-Length", b"5")], [b"ab", b"cde"]) == [Mark.PART, Mark.LAST]


def test_so_does_a_sized_event_stream_that_ends_without_a_done_event() -> None:
    sized = [*EVENTS, (b"content-length", b"4")]
    assert marks(sized, [b"da", b"ta"]) == [Mark.PART, Mark.LAST]
    assert marks([*EVENTS, (b"content-length", b"14")], [b"data: [DONE]", b"\n\n"]) == [Mark.DONE_EVENT, Mark.LAST]


def test_an_answer_of_unknown_size_is_ended_by_its_framing_and_no_block_waits_for_it() -> None:
    assert marks([], [b"a", b"b"]) == [Mark.PART, Mark.PART]


@pytest.mark.parametrize(
    ("method", "status", "length", "has_body"),
    [(b"GET", 200, b"0", False), (b"HEAD", 200, b"9", False), (b"GET", 304, b"9", False), (b"GET", 204, None, False),
     (b"GET", 200, None, True), (b"POST", 500, b"9", True)],
)  # fmt: skip
def test_an_answer_without_a_body_is_whole_with_its_head(
    method: bytes, status: int, length: bytes | None, has_body: bool
) -> None:
    headers = [] if length is None else [(b"content-length", length)]
    assert AnswerEnd(method, status, headers, is_event_stream=False).has_body is has_body


@given(st.lists(st.integers(1, len(STREAM) - 1), unique=True).map(sorted))
def test_the_done_event_is_found_however_it_is_cut_and_only_once(cuts: list[int]) -> None:
    edges = [0, *cuts, len(STREAM)]
    found = marks(EVENTS, [STREAM[a:b] for a, b in pairwise(edges)])
    ends = [end for end, mark in zip(edges[1:], found, strict=True) if mark is Mark.DONE_EVENT]
    whole = STREAM.rindex(b"[DONE]") + len(b"[DONE]")
    assert ends == [min(edge for edge in edges if edge >= whole)]


@pytest.mark.parametrize("body", [b"data:[DONE]\n\n", b"data: [DONE]\r\n\r\n", b"x\rdata: [DONE]", b"data: [DONE]"])
def test_every_spelling_of_the_done_event_counts(body: bytes) -> None:
    assert marks(EVENTS, [body]) == [Mark.DONE_EVENT]


@pytest.mark.parametrize("body", [b'data: "[DONE]"\n\n', b"data: x data: [DONE]\n\n", b"event: [DONE]\n\n"])
def test_the_words_inside_a_message_do_not_count(body: bytes) -> None:
    assert marks(EVENTS, [body]) == [Mark.PART]


LAST_EVENTS = {
    "messages": b'event: message_delta\ndata: {"type":"message_delta"}\n\nevent: message_stop\ndata: {"type":"x"}\n\n',
    "responses": b'event: response.output_text.done\ndata: {}\n\nevent: response.completed\ndata: {"a":"b"}\n\n',
    "incomplete": b'event: response.incomplete\r\ndata: {"a":"b"}\r\n\r\n',
    "carriage returns": b'event:response.failed\rdata: {"a":"b"}\r\r',
}


@pytest.mark.parametrize("stream", LAST_EVENTS.values(), ids=LAST_EVENTS)
def test_the_last_event_of_a_dialect_without_done_is_marked_where_it_is_complete(stream: bytes) -> None:
    """The SDKs stop reading there, so the trace must be down by then (`docs/contract.md`, C1)."""
    bytewise = marks(EVENTS, [stream[at : at + 1] for at in range(len(stream))])
    assert bytewise.index(Mark.DONE_EVENT) == len(stream) - 1
    assert marks(EVENTS, [stream]) == [Mark.DONE_EVENT]
    for cut in range(1, len(stream)):
        assert marks(EVENTS, [stream[:cut], stream[cut:], b": more\n\n"]) == [Mark.PART, Mark.DONE_EVENT, Mark.PART]


def test_a_field_that_looks_like_the_last_event_is_none() -> None:
    stream = b'event: response.completed.part\ndata: "event: message_stop"\n\ndata: {}\n\n'
    assert set(marks(EVENTS, [stream[at : at + 1] for at in range(len(stream))])) == {Mark.PART}
