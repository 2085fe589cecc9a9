from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import HeadError
from proxy.wire.head import find_response_head_end, parse_response_head
from proxy.wire.incoming_head import FoundHead, IncomingHead

HEADS = [
    b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
    b"HTTP/1.1 200 OK\nA: b\n\n",
    b"HTTP/1.1 200 OK\r\nA: b\n\r\n",
    b"HTTP/1.1 200 OK\nA: b\r\n\n",
    b"HTTP/1.1 204\r\n\r\n",
]


@given(
    head=st.sampled_from(HEADS),
    rest=st.sampled_from([b"", b"body", b"\r\n\r\n", b"\n\n", b"x\r\n\r\ny"]),
    cuts=st.lists(st.integers(0, 60)),
)
def test_a_head_is_found_where_it_ends_however_it_is_cut(head: bytes, rest: bytes, cuts: list[int]) -> None:
    whole = head + rest
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    incoming = IncomingHead()
    for begin, end in pairwise(places):
        found = incoming.feed(whole[begin:end])
        if end < len(head):
            assert found is None
        else:
            assert found == FoundHead(parse_response_head(head), whole[len(head) : end])
            assert find_response_head_end(whole) == len(head)
            return


def test_one_head_follows_the_other() -> None:
    incoming = IncomingHead()
    assert incoming.feed(b"HTTP/1.1 100 ") is None
    found = incoming.feed(b"Continue\r\n\r\nHTTP/1.1 2")
    assert found is not None
    assert incoming.feed(found.rest) is None
    found = incoming.feed(b"00 OK\r\n\r\n")
    assert found is not None
    assert (found.head.status, found.rest) == (200, b"")


@pytest.mark.parametrize("size", [1000, 300_000])
def test_a_head_without_an_end_is_held_up_to_a_bound(size: int) -> None:
    incoming = IncomingHead()
    for _ in range(262_144 // size):
        assert incoming.feed(b"x" * size) is None
    with pytest.raises(HeadError, match="more than 262144 bytes"):
        incoming.feed(b"x" * size)


def test_a_large_body_behind_a_head_is_not_counted_to_it() -> None:
    found = IncomingHead().feed(HEADS[0] + b"x" * 300_000)
    assert found is not None
    assert len(found.rest) == 300_000
