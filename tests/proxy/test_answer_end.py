"""The mark that says: before this block goes out, the trace must be down."""

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.answer_end import Mark, mark_blocks

EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]
STREAM = b'data: {"a":"say \\"data: [DONE]\\" twice"}\n\n: comment\n\ndata: [DONE]\n\n'


async def marked(headers: Sequence[tuple[bytes, bytes]], blocks: Sequence[bytes]) -> list[tuple[bytes, Mark]]:
    async def source() -> AsyncIterator[bytes]:
        for block in blocks:
            yield block

    return [(item.block, item.mark) async for item in mark_blocks(headers, source())]


async def test_a_sized_answer_ends_with_the_block_that_brings_its_last_byte() -> None:
    assert await marked([(b"Content-Length", b"5")], [b"ab", b"cde"]) == [(b"ab", Mark.PART), (b"cde", Mark.LAST)]


async def test_an_answer_of_unknown_size_is_passed_on_one_block_late() -> None:
    assert await marked([], [b"a", b"b"]) == [(b"a", Mark.PART), (b"b", Mark.LAST)]
    assert await marked([], []) == []


@given(st.lists(st.integers(1, len(STREAM) - 1), unique=True).map(sorted))
async def test_the_done_event_is_found_however_it_is_cut_and_only_once(cuts: list[int]) -> None:
    edges = [0, *cuts, len(STREAM)]
    blocks = [STREAM[a:b] for a, b in pairwise(edges)]
    found = await marked(EVENTS, blocks)
    assert b"".join(block for block, _ in found) == STREAM
    ends = [end for end, (_, mark) in zip(edges[1:], found, strict=True) if mark is Mark.DONE_EVENT]
    whole = STREAM.rindex(b"[DONE]") + len(b"[DONE]")
    assert ends == [min(edge for edge in edges if edge >= whole)]


@pytest.mark.parametrize("body", [b"data:[DONE]\n\n", b"data: [DONE]\r\n\r\n", b"x\rdata: [DONE]", b"data: [DONE]"])
async def test_every_spelling_of_the_done_event_counts(body: bytes) -> None:
    assert await marked(EVENTS, [body]) == [(body, Mark.DONE_EVENT)]


@pytest.mark.parametrize("body", [b'data: "[DONE]"\n\n', b"data: x data: [DONE]\n\n", b"event: [DONE]\n\n"])
async def test_the_words_inside_a_message_do_not_count(body: bytes) -> None:
    assert await marked(EVENTS, [body]) == [(body, Mark.PART)]
