"""Answers of every kind to the plainest requests."""

import gzip
import zlib

import brotli  # type: ignore[import-untyped]

from proxy.ingest.content_coding import zstd
from tests.acceptance.differential.case import Case, chunked, head, request, sized, whole
from tests.acceptance.differential.request_cases import JSON, OCTETS
from tests.raw_upstream import HalfClose, Step
from tests.upstream import STREAM_END, Dawdle, Hangup, Reset, framed

CHUNKED = b"Transfer-Encoding: chunked"
EVENTS = b"Content-Type: text/event-stream; charset=utf-8"
PLAIN = b'{"a": 1}'
LENGTH = b"Content-Length: 8"
END = framed(b"data: [DONE]\n\n") + STREAM_END

_STATUSES: dict[str, bytes] = {
    **{f"{code}": b"%d Some Words" % code for code in (200, 201, 202, 203, 207, 226, 299)},
    **{f"{code}": b"%d Go There" % code for code in (300, 301, 302, 303, 307, 308)},
    **{f"{code}": b"%d No" % code for code in (400, 401, 402, 403, 404, 405, 407, 409, 413, 418, 422, 426, 429, 499)},
    **{f"{code}": b"%d Not Now" % code for code in (500, 501, 502, 503, 504, 508, 529, 599)},
    "no_reason": b"200 ",
    "no_reason_no_space": b"200",
    "long_reason": b"200 " + b"because " * 100,
    "latin1_reason": b"299 Caf\xe9 au lait",
    "inner_space_reason": b"200  two  spaces\tand a tab",
}

_HEADS: dict[str, tuple[bytes, ...]] = {
    "mixed_case": (b"X-Mixed-CASE: 1", b"x-lower: 2", b"X-UPPER: 3"),
    "order": (b"B: 1", b"A: 2", b"C: 3", b"A: 4"),
    "set_cookies": (b"Set-Cookie: a=1; Path=/", b"X-A: 1", b"set-cookie: b=2", b"Set-Cookie: a=1; Path=/"),
    "date_and_server": (b"Date: Sun, 06 Nov 1994 08:49:37 GMT", b"Server: theirs", b"Via: 1.1 x"),
    "empty_value": (b"X-A:", b"X-B: ", b"X-C:\t"),
    "space": (b"X-A:1", b"X-B:   2  ", b"X-C: a  b\tc"),
    "latin1": (b"X-A: caf\xe9",),
    "utf8": ("X-A: 你好 🙂".encode(),),
    "no_utf8": (b"X-A: \xff\xfe\x80",),
    "punctuation": (b'X-A: "\\;,=:@?#[]{}()<>|^`~', b"WWW-Authenticate: Bearer a=b, Basic c"),
    "odd_names": (b"X_Under: 1", b"9: 2", b"!#$%&'*+-.^_`|~: 3"),
    "ninety": tuple(b"X-%d: %d" % (n, n) for n in range(90)),
    "value_30k": (b"X-Long: " + b"a" * 30_000,),
    "rate_limits": (b"x-ratelimit-remaining-requests: 9", b"retry-after: 1", b"openai-processing-ms: 12"),
    "request_id": (b"x-request-id: req_1", b"X-Request-ID: req_2"),
    "location": (b"Location: http://127.0.0.1:1/v1/x", b"Content-Location: /else", b"Link: </a>; rel=next"),
    "named_by_connection": (b"Connection: x-hop, X-Other", b"X-Hop: 1", b"x-other: 2", b"X-Kept: 3"),
    "hop_by_hop": (b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"X-Kept: 1"),
    "offers_h2": (b"Connection: Upgrade", b"Upgrade: h2c"),
    "alt_svc": (b'Alt-Svc: h3=":443"', b"Strict-Transport-Security: max-age=1"),
    "content": (b"Content-Type: text/plain", b"Content-Disposition: attachment", b'ETag: W/"x"', b"Vary: *"),
    "accel": (b"X-Accel-Buffering: yes",),
    "own_family": (b"x-tracemill-other: theirs",),
}  # fmt: skip

_CHUNKED_HEAD = head(b"200 OK", CHUNKED)
_STREAM_HEAD = head(b"200 OK", EVENTS, CHUNKED)
_SOON = Dawdle(0.01)
_BODIES: dict[str, tuple[Step, ...]] = {
    "octets": (whole(OCTETS * 16),),
    "sized_in_pieces": (head(b"200 OK", LENGTH), PLAIN[:3], Dawdle(0.01), PLAIN[3:]),
    "empty": (whole(b""),),
    "one_mib": (whole(OCTETS * 4096),),
    "length_with_zeros": (head(b"200 OK", b"Content-Length: 0008"), PLAIN),
    "same_length_twice": (head(b"200 OK", b"X-A: 1", LENGTH) + PLAIN,),
    "chunked": (head(b"200 OK", CHUNKED), framed(PLAIN), framed(PLAIN), STREAM_END),
    "chunked_empty": (head(b"200 OK", CHUNKED), STREAM_END),
    "chunked_at_once": (head(b"200 OK", CHUNKED) + framed(PLAIN) + STREAM_END,),
    "chunked_single_octets": (head(b"200 OK", CHUNKED), *(framed(b"%c" % octet) for octet in PLAIN), STREAM_END),
    "chunk_sizes_as_written": (head(b"200 OK", CHUNKED), b"A\r\n0123456789\r\n000a\r\n0123456789\r\n000\r\n\r\n"),
    "chunk_extensions": (head(b"200 OK", CHUNKED), b'8;a=b;c="d"\r\n' + PLAIN + b"\r\n0;c\r\n\r\n"),
    "chunk_size_and_space": (head(b"200 OK", CHUNKED), b"8 \r\n" + PLAIN + b"\r\n0  \r\n\r\n"),
    "chunked_large": (head(b"200 OK", CHUNKED), framed(OCTETS * 4096), framed(OCTETS), STREAM_END),
    "chunked_in_pieces": (_CHUNKED_HEAD, b"1", _SOON, b"0\r", b"\n01234567", _SOON, b"89abcdef\r\n0\r\n", b"\r\n"),
    "chunked_capitals": (head(b"200 OK", b"transfer-encoding: CHUNKED"), framed(PLAIN), STREAM_END),
    "trailers": (head(b"200 OK", b"Trailer: X-Sum", CHUNKED), framed(PLAIN), b"0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n"),
    "trailers_unannounced": (head(b"200 OK", CHUNKED), framed(PLAIN), b"0\r\nX-Sum: caf\xe9\r\n", b"\r\n"),
    "head_octet_by_octet": tuple(b"%c" % octet for octet in whole(PLAIN, b"X-A: 1")),
    "until_close": (head(b"200 OK", b"Content-Type: text/plain"), PLAIN, Hangup()),
    "until_close_empty": (head(b"200 OK", b"X-A: 1"), Hangup()),
    "until_half_close": (head(b"200 OK", b"X-A: 1"), PLAIN, HalfClose()),
    "until_close_in_pieces": (head(b"200 OK"), PLAIN, Dawdle(0.02), OCTETS, Hangup()),
    "http10_until_close": (head(b"200 OK", b"X-A: 1", version=b"HTTP/1.0"), PLAIN, Hangup()),
    "http10_sized": (head(b"200 OK", LENGTH, version=b"HTTP/1.0"), PLAIN, Hangup()),
    "http10_kept": (head(b"200 OK", LENGTH, b"Connection: keep-alive", version=b"HTTP/1.0"), PLAIN),
    "closes": (head(b"200 OK", LENGTH, b"Connection: close"), PLAIN, Hangup()),
    "closes_chunked": (head(b"200 OK", CHUNKED, b"Connection: close"), framed(PLAIN), STREAM_END, Hangup()),
    "kept_said": (head(b"200 OK", LENGTH, b"Connection: keep-alive"), PLAIN),
    "no_content": (head(b"204 No Content", b"X-A: 1"),),
    "not_modified": (head(b"304 Not Modified", b'ETag: "x"'),),
    "not_modified_length": (head(b"304 Not Modified", b"Content-Length: 1234"),),
    "reset_content": (head(b"205 Reset Content", b"Content-Length: 0"),),
    "coded_gzip": (whole(gzip.compress(PLAIN, mtime=0), b"Content-Encoding: gzip"),),
    "coded_deflate": (whole(zlib.compress(PLAIN), b"Content-Encoding: deflate"),),
    "coded_br": (whole(brotli.compress(PLAIN), b"Content-Encoding: br"),),
    "coded_zstd": (whole(zstd.compress(PLAIN), b"Content-Encoding: zstd"),),
    "coded_twice": (whole(gzip.compress(zlib.compress(PLAIN), mtime=0), b"Content-Encoding: deflate, gzip"),),
    "coded_unknown": (whole(PLAIN, b"Content-Encoding: x-mine"),),
    "coded_in_name_only": (whole(PLAIN, b"Content-Encoding: gzip"),),
    "multipart": (whole(b"--b\r\n\r\n\xff\r\n--b--\r\n", b"Content-Type: multipart/byteranges", status=b"206 Part"),),
}  # fmt: skip

_STREAMS: dict[str, tuple[Step, ...]] = {
    "plain": (framed(b"data: 1\n\n"), framed(b"data: 2\n\n"), END),
    "crlf": (framed(b"data: 1\r\n\r\ndata: 2\r\n\r\ndata: [DONE]\r\n\r\n"), STREAM_END),
    "cr": (framed(b"data: 1\r\rdata: [DONE]\r\r"), STREAM_END),
    "comments": (framed(b": OPENROUTER PROCESSING\n\n:\n\n"), framed(b"data: 1\n\n"), END),
    "bom": (framed(b"\xef\xbb\xbfdata: 1\n\n"), END),
    "fields": (framed(b"event: a\nid: 7\nretry: 10\ndata:1\ndata\ndata: 2\n\n"), END),
    "no_utf8": (framed(b"data: \xff\xfe\x00\n\n"), END),
    "cut_characters": (framed("data: 你🙂\n\n".encode()[:8]), Dawdle(0.01), framed("data: 你🙂\n\n".encode()[8:]), END),
    "no_done": (framed(b"data: 1\n\n"), STREAM_END),
    "no_last_line_end": (framed(b"data: 1\n\ndata: [DONE]"), STREAM_END),
    "data_after_done": (framed(b"data: [DONE]\n\n"), Dawdle(0.01), framed(b"data: late\n\n"), STREAM_END),
    "done_twice": (framed(b"data: [DONE]\n\n"), framed(b"data: [DONE]\n\n"), STREAM_END),
    "done_cut": (framed(b"data: 1\n\ndata: [D"), Dawdle(0.01), framed(b"ONE]\n\n"), STREAM_END),
    "empty": (STREAM_END,),
    "error_event": (framed(b'data: {"error":{"message":"no"}}\n\n'), STREAM_END),
    "one_chunk_an_octet": (*(framed(b"%c" % octet) for octet in b"data: 1\n\n"), END),
    "trailers": (framed(b"data: 1\n\n"), b"0\r\nX-Sum: 1\r\n\r\n"),
}
_CUTS: dict[str, tuple[Step, ...]] = {
    "stream_hangup": (head(b"200 OK", EVENTS, CHUNKED), framed(b"data: 1\n\n"), Dawdle(0.05), Hangup()),
    "stream_reset": (head(b"200 OK", EVENTS, CHUNKED), framed(b"data: 1\n\n"), Dawdle(0.05), Reset()),
    "stream_after_done": (head(b"200 OK", EVENTS, CHUNKED), framed(b"data: [DONE]\n\n"), Dawdle(0.05), Hangup()),
    "inside_a_chunk": (head(b"200 OK", CHUNKED), b"20\r\nonly this", Dawdle(0.05), Hangup()),
    "inside_the_last_chunk": (head(b"200 OK", CHUNKED), framed(PLAIN), b"0\r\n", Dawdle(0.05), Hangup()),
    "inside_trailers": (head(b"200 OK", CHUNKED), framed(PLAIN), b"0\r\nX-S", Dawdle(0.05), Hangup()),
    "short_of_its_length": (head(b"200 OK", b"Content-Length: 99"), PLAIN, Dawdle(0.05), Hangup()),
    "short_by_reset": (head(b"200 OK", b"Content-Length: 99"), PLAIN, Dawdle(0.05), Reset()),
    "until_close_reset": (head(b"200 OK", b"X-A: 1"), PLAIN, Dawdle(0.05), Reset()),
    "http10_short": (head(b"200 OK", b"Content-Length: 99", version=b"HTTP/1.0"), PLAIN, Dawdle(0.05), Hangup()),
}
_INTERIM: dict[str, tuple[Step, ...]] = {
    "continue_unasked": (head(b"100 Continue"), whole(PLAIN)),
    "processing": (head(b"102 Processing"), Dawdle(0.01), head(b"102 Processing"), whole(PLAIN)),
    "early_hints": (head(b"103 Early Hints", b"Link: </a>; rel=preload", b"link: </b>"), whole(PLAIN)),
    "several": (head(b"100 Continue") + head(b"103 Early", b"X-A: 1") + head(b"199 Odd", b"X-B: 1") + whole(PLAIN),),
    "before_a_stream": (head(b"103 Early Hints"), head(b"200 OK", EVENTS, CHUNKED), framed(b"data: 1\n\n"), END),
    "before_no_content": (head(b"103 Early Hints"), head(b"204 No Content")),
}  # fmt: skip

GET = request(b"GET /v1/models")
_HEAD = request(b"HEAD /v1/x")
_DONE = b"data: [DONE]\n\n"
_GZIP = b"Content-Encoding: gzip"
_GZIPPED = gzip.compress(b"data: 1\n\n", mtime=0)
_ASK = sized(b"POST /v1/chat/completions", JSON, b"Content-Type: application/json")
_OLD = request(b"GET /v1/models", version=b"HTTP/1.0")
_OLD_ANSWERS = {
    **{name: _BODIES[name] for name in ("chunked", "until_close", "http10_sized", "no_content", "trailers")},
    **_INTERIM,
    "stream_hangup": _CUTS["stream_hangup"],
    "sized_hangup": _CUTS["short_of_its_length"],
}
_HEAD_ANSWERS = {
    "length": head(b"200 OK", b"Content-Length: 1234"),
    "chunked": head(b"200 OK", CHUNKED),
    "neither": head(b"200 OK", b"X-A: 1"),
    "not_found": head(b"404 Not Found", b"Content-Length: 9"),
    "empty": head(b"200 OK", b"Content-Length: 0"),
    "stream": head(b"200 OK", EVENTS, CHUNKED),
}


def _case(name: str, wire: bytes, *steps: Step, method: bytes = b"GET", keeps: bool | None = True) -> Case:
    return Case(name, (wire,), lambda _request: steps, (method,), keeps=keeps)


ANSWER_CASES = [
    *(_case(f"status-{name}", GET, head(status, b"X-A: 1", LENGTH) + PLAIN) for name, status in _STATUSES.items()),
    *(_case(f"answer-fields-{name}", GET, whole(PLAIN, *fields)) for name, fields in _HEADS.items()),
    *(_case(f"answer-{name}", GET, *steps) for name, steps in _BODIES.items()),
    *(_case(f"stream-{name}", _ASK, _STREAM_HEAD, *steps, method=b"POST") for name, steps in _STREAMS.items()),
    _case("stream-until-close", _ASK, head(b"200 OK", EVENTS), b"data: 1\n\n", _DONE, Hangup(), method=b"POST"),
    _case("stream-sized", _ASK, whole(b"data: 1\n\ndata: [DONE]\n\n", EVENTS), method=b"POST"),
    _case("stream-accel-said", _ASK, whole(b"data: 1\n\n", EVENTS, b"X-Accel-Buffering: no"), method=b"POST"),
    _case("stream-gzip", _ASK, head(b"200 OK", EVENTS, CHUNKED, _GZIP), framed(_GZIPPED), STREAM_END, method=b"POST"),
    *(_case(f"cut-{name}", _ASK, *steps, method=b"POST", keeps=None) for name, steps in _CUTS.items()),
    *(_case(f"interim-{name}", GET, *steps) for name, steps in _INTERIM.items()),
    *(_case(f"to-http10-{name}", _OLD, *steps, keeps=None) for name, steps in _OLD_ANSWERS.items()),
    *(_case(f"to-head-{name}", _HEAD, answer, method=b"HEAD") for name, answer in _HEAD_ANSWERS.items()),
    _case("to-chunked-upload-204", chunked(b"PUT /v1/x", framed(b"a") + STREAM_END), head(b"204 No"), method=b"PUT"),
]  # fmt: skip
