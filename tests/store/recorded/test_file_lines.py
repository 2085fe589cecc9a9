import gzip
import sys
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.recorded.errors import RejectReason
from store.recorded.file_lines import FileLine, file_lines

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Pack = Callable[[bytes], bytes]
PACKERS: list[Pack] = [bytes, gzip.compress, zstd.compress]


def blocks_of(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def texts(data: bytes, size: int = 7) -> list[bytes]:
    return [line.text for line in file_lines(blocks_of(data, size))]


@pytest.mark.parametrize("pack", PACKERS)
@given(data=st.binary(max_size=200) | st.text("a\n\r\u2028\x85", max_size=40).map(str.encode), size=st.integers(1, 50))
def test_a_file_is_split_at_newline_bytes_alone_however_it_comes(pack: Pack, data: bytes, size: int) -> None:
    if pack is bytes and data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        return  # it would be compressed
    expected = [line.removesuffix(b"\r") for line in data.removesuffix(b"\n").split(b"\n")] if data else []
    expected[:1] = [line.removeprefix(b"\xef\xbb\xbf") for line in expected[:1]]
    assert texts(pack(data), size) == expected


@pytest.mark.parametrize("pack", PACKERS[1:])
def test_compressed_files_that_were_joined_are_read_to_the_end(pack: Pack) -> None:
    joined = pack(b"one\ntw") + pack(b"") + pack(b"o\n")
    assert texts(joined) == [b"one", b"two"]
    assert texts(gzip.compress(b"one\n") + b"\0" * 100) == [b"one"]


@pytest.mark.parametrize("pack", PACKERS[1:])
def test_a_compressed_file_that_was_cut_short_gives_what_it_holds_and_says_so(pack: Pack) -> None:
    lines = b"".join(b'{"number": %d}\n' % number for number in range(20_000))
    found = list(file_lines(blocks_of(pack(lines)[:-20], 1000)))
    assert found[0] == FileLine(1, b'{"number": 0}')
    assert found[-1].fault is not None
    assert found[-1].fault.reason is RejectReason.BROKEN_FILE
    assert all(line.fault is None for line in found[:-1])


def test_damage_in_a_compressed_file_ends_the_file_with_a_reason() -> None:
    packed = bytearray(gzip.compress(b"x\n" * 100_000))
    packed[60] ^= 0xFF
    *_, last = file_lines([bytes(packed)])
    assert last.fault is not None
    assert last.fault.reason is RejectReason.BROKEN_FILE


def test_a_line_beyond_the_bound_is_told_and_costs_no_memory() -> None:
    def endless() -> Iterator[bytes]:
        yield b"short\n"
        for _ in range(100):
            yield bytes(bytearray(b"x") * 1_000_000)
        yield b"\nlast\n"

    tracemalloc.start()
    try:
        first, long, last = file_lines(endless(), max_line_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert (first.text, last) == (b"short", FileLine(3, b"last"))
    assert long.fault is not None
    assert long.fault.reason is RejectReason.TOO_LONG
    assert long.text == b"x" * 65536


def test_a_file_that_inflates_beyond_measure_is_unpacked_piece_by_piece() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000)
    (line,) = file_lines([bomb], max_line_bytes=1000)
    assert line.fault is not None
    assert line.fault.reason is RejectReason.TOO_LONG


def test_a_byte_order_mark_goes_at_the_beginning_of_the_file_alone() -> None:
    mark = b"\xef\xbb\xbf"
    assert texts(mark + b"{}\n" + mark + b"{}\n") == [b"{}", mark + b"{}"]


def test_an_empty_file_has_no_lines() -> None:
    assert texts(b"") == []
