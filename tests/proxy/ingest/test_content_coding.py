import gzip
import random
import sys
import time
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ingest.content_coding import ContentCodingError, decode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b'{"content": "' + b"the quick brown fox " * 400 + b'"}'


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def flushed_brotli(data: bytes) -> bytes:
    """Brotli as servers stream it: something is decodable before the end."""
    stream = brotli.Compressor(quality=4)
    half = len(data) // 2
    return stream.process(data[:half]) + stream.flush() + stream.process(data[half:]) + stream.finish()


def flushed_zstd(data: bytes) -> bytes:
    stream = zstd.ZstdCompressor()
    half = len(data) // 2
    return stream.compress(data[:half], stream.FLUSH_BLOCK) + stream.compress(data[half:], stream.FLUSH_FRAME)


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": flushed_brotli,
    "zstd": flushed_zstd,
}


@pytest.mark.parametrize("coding", ENCODERS)
def test_every_coding_gives_the_body_back(coding: str) -> None:
    decoded = decode(ENCODERS[coding](TEXT), coding, max_bytes=100_000)
    assert decoded.body == TEXT
    assert decoded.is_whole


@pytest.mark.parametrize("header", ["", "identity", " Identity , "])
def test_no_coding_gives_the_bytes_as_they_are(header: str) -> None:
    assert decode(TEXT, header, max_bytes=100_000).body == TEXT


def test_deflate_without_its_zlib_frame_is_read() -> None:
    assert decode(raw_deflate(TEXT), "deflate", max_bytes=100_000).body == TEXT


def test_stacked_codings_are_undone_from_the_last() -> None:
    body = ENCODERS["br"](gzip.compress(TEXT))
    assert decode(body, "GZIP, identity, Br", max_bytes=100_000).body == TEXT


@pytest.mark.parametrize(("coding", "encode"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_members_one_after_another_are_one_body(coding: str, encode: Callable[[bytes], bytes]) -> None:
    assert decode(encode(b"one ") + encode(b"two"), coding, max_bytes=100).body == b"one two"


@pytest.mark.parametrize(("coding", "encode"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_a_body_of_nothing_but_empty_members_costs_no_time(coding: str, encode: Callable[[bytes], bytes]) -> None:
    """What followed each of them was copied: a minute of copying for 4 MB."""
    began = time.process_time()
    with pytest.raises(ContentCodingError, match="pieces") as caught:
        decode(encode(b"") * 200_000, coding, max_bytes=10_000_000)
    assert caught.value.reason == "broken"
    assert time.process_time() - began < 5


@pytest.mark.parametrize(("coding", "encode"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_members_larger_than_a_step_of_decoding_are_one_body(coding: str, encode: Callable[[bytes], bytes]) -> None:
    noise = random.Random(1).randbytes(50_000)
    body = encode(noise) + encode(b"") + encode(noise[::-1])
    decoded = decode(body, coding, max_bytes=200_000)
    assert (decoded.body, decoded.is_whole) == (noise + noise[::-1], True)
    assert decode(body[:-1], coding, max_bytes=200_000).is_whole is False


def test_a_skippable_frame_of_zstd_is_not_data() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
    assert decode(zstd.compress(b"one") + skippable + zstd.compress(b"two"), "zstd", max_bytes=100).body == b"onetwo"


def test_a_bomb_inside_a_coding_is_stopped_at_the_bound() -> None:
    body = gzip.compress(zstd.compress(b"\0" * 20_000_000))
    with pytest.raises(ContentCodingError, match="larger than 50000 bytes"):
        decode(body, "zstd, gzip", max_bytes=50_000)


def test_padding_after_gzip_is_not_data() -> None:
    assert decode(gzip.compress(b"one") + b"\0" * 10, "gzip", max_bytes=100).body == b"one"


@pytest.mark.parametrize("coding", ENCODERS)
def test_a_cut_body_gives_what_could_be_decoded(coding: str) -> None:
    body = ENCODERS[coding](TEXT)
    decoded = decode(body[:-1], coding, max_bytes=100_000)
    assert not decoded.is_whole
    assert len(decoded.body) >= len(TEXT) // 2
    assert TEXT.startswith(decoded.body)


@pytest.mark.parametrize("coding", ENCODERS)
def test_a_bomb_is_stopped_at_the_bound(coding: str) -> None:
    bomb = ENCODERS[coding](b"\0" * 20_000_000)
    with pytest.raises(ContentCodingError, match="larger than 50000 bytes") as caught:
        decode(bomb, coding, max_bytes=50_000)
    assert caught.value.reason == "over_bound"


@pytest.mark.parametrize("coding", ENCODERS)
def test_a_body_of_exactly_the_bound_is_whole(coding: str) -> None:
    assert decode(ENCODERS[coding](TEXT), coding, max_bytes=len(TEXT)).body == TEXT
    with pytest.raises(ContentCodingError):
        decode(ENCODERS[coding](TEXT), coding, max_bytes=len(TEXT) - 1)


@pytest.mark.parametrize("coding", ENCODERS)
def test_bytes_that_are_not_so_coded_are_broken(coding: str) -> None:
    with pytest.raises(ContentCodingError, match=f"content-encoding '{coding}'") as caught:
        decode(b"\xf3\xff" + b"plain text" * 20, coding, max_bytes=100_000)
    assert caught.value.reason == "broken"


def test_an_unknown_coding_is_named() -> None:
    with pytest.raises(ContentCodingError, match="'compress'") as caught:
        decode(TEXT, "compress", max_bytes=100_000)
    assert (caught.value.reason, caught.value.coding) == ("unknown", "compress")


@pytest.mark.parametrize("coding", ENCODERS)
def test_an_empty_body_is_empty_in_every_coding(coding: str) -> None:
    assert decode(b"", coding, max_bytes=10).body == b""


@given(st.binary(max_size=300), st.lists(st.sampled_from(sorted(ENCODERS)), max_size=3))
def test_whatever_is_stacked_comes_back(body: bytes, codings: list[str]) -> None:
    encoded = body
    for coding in codings:
        encoded = ENCODERS[coding](encoded)
    assert decode(encoded, ",".join(codings), max_bytes=10_000).body == body


@given(st.sampled_from(sorted(ENCODERS)), st.binary(max_size=200))
def test_hostile_bytes_give_bytes_or_a_clear_error(coding: str, body: bytes) -> None:
    try:
        size = len(decode(body, coding, max_bytes=1000).body)
    except ContentCodingError:
        size = 0
    assert size <= 1000
