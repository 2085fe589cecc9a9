"""An answer's blocks go on in the turn that brings them, in their order, and as fast as their reader wants them."""

import asyncio

import httpx2 as httpx
import pytest

from proxy.wire.answer_stream import MAX_UNREAD_BYTES, AnswerStream


class Source:
    """A connection that notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def resume_reading(self) -> None:
        self.asked.append("resume")

    def abort(self) -> None:
        self.asked.append("abort")

    async def abandon(self) -> None:
        self.abort()


class Reader:
    """Takes blocks, and wants no more after some of them."""

    def __init__(self, *stops: bytes) -> None:
        self.taken: list[bytes] = []
        self._stops = stops

    def __call__(self, block: bytes) -> bool:
        self.taken.append(block)
        return block not in self._stops


async def waiting(answer: AnswerStream, reader: Reader) -> asyncio.Task[bool]:
    pouring = asyncio.create_task(answer.pour(reader))
    await asyncio.sleep(0)
    return pouring


async def test_a_block_is_with_its_reader_before_the_loop_turns() -> None:
    answer, reader = AnswerStream(Source(), asyncio.get_running_loop()), Reader()
    pouring = await waiting(answer, reader)
    assert answer.put([b"a", b"b"])
    assert reader.taken == [b"a", b"b"]
    answer.finish([])
    assert await pouring is False


async def test_what_a_reader_does_not_want_yet_waits_in_its_order() -> None:
    answer, reader = AnswerStream(Source(), asyncio.get_running_loop()), Reader(b"b")
    pouring = await waiting(answer, reader)
    answer.put([b"a", b"b", b"c"])
    answer.put([b"d"])
    assert await pouring is True
    assert (reader.taken, answer.unread_bytes) == ([b"a", b"b"], 2)
    pouring = await waiting(answer, reader)
    answer.finish([])
    assert await pouring is False
    assert reader.taken == [b"a", b"b", b"c", b"d"]


async def test_a_mistake_of_the_reader_is_its_own() -> None:
    """The connection that brought the block has done nothing wrong."""

    def mistake(_block: bytes) -> bool:
        raise ValueError("a mistake")

    answer = AnswerStream(Source(), asyncio.get_running_loop())
    pouring = asyncio.create_task(answer.pour(mistake))
    await asyncio.sleep(0)
    assert answer.put([b"a"])
    with pytest.raises(ValueError, match="a mistake"):
        await pouring


async def test_an_error_comes_behind_the_blocks_before_it() -> None:
    answer, reader = AnswerStream(Source(), asyncio.get_running_loop()), Reader()
    pouring = await waiting(answer, reader)
    answer.put([b"a"])
    answer.fail(httpx.ReadError("cut"))
    with pytest.raises(httpx.ReadError):
        await pouring
    assert reader.taken == [b"a"]


async def test_a_reader_that_is_cancelled_ends_the_call() -> None:
    source = Source()
    pouring = await waiting(AnswerStream(source, asyncio.get_running_loop()), Reader())
    pouring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pouring
    assert source.asked == ["abort"]


async def test_tiny_blocks_hold_the_connection_up_by_their_number() -> None:
    """Two bytes take fifty in memory: a bound on content alone would be none on what lies unread."""
    source = Source()
    answer, reader = AnswerStream(source, asyncio.get_running_loop()), Reader()
    taken = [answer.put([b"ab"]) for _ in range(1_025)]
    assert (taken.count(True), taken[-1]) == (1_024, False)
    answer.finish([])
    assert await answer.pour(reader) is False
    assert (len(reader.taken), source.asked) == (1_025, ["resume"])


async def test_a_slow_reader_holds_the_connection_up_and_a_quick_one_does_not() -> None:
    source = Source()
    answer, reader = AnswerStream(source, asyncio.get_running_loop()), Reader(b"stop")
    pouring = await waiting(answer, reader)
    big = b"x" * MAX_UNREAD_BYTES
    assert answer.put([big, big])
    assert not answer.put([b"stop", big, b"y"])
    assert await pouring is True
    assert source.asked == []
    answer.finish([])
    assert await answer.pour(reader) is False
    assert source.asked == ["resume"]
