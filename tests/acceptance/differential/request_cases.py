"""Requests of every kind; the upstream answers them all alike."""

import gzip
import zlib

import brotli  # type: ignore[import-untyped]

from proxy.ingest.content_coding import zstd
from tests.acceptance.differential.case import Case, ClientStep, chunked, methods_of, request, sized, whole
from tests.raw_upstream import RawRequest, Step
from tests.upstream import STREAM_END, framed

JSON = b'{"model":"m","messages":[{"role":"user","content":"\xc3\xa9"}] }\n'
OCTETS = bytes(range(256))

_METHODS = {
    **{name: request(name.encode() + b" /v1/models") for name in ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE")},
    **{name: request(name.encode() + b" /v1/files") for name in ("PROPFIND", "M-SEARCH", "LINK", "PURGE", "get")},
    "every_token_octet": request(b"X!#$%&'*+-.^_`|~09az /v1/x"),
    **{f"{name}_body": sized(name.encode() + b" /v1/x", JSON) for name in ("POST", "PUT", "PATCH", "DELETE", "QUERY")},
    "GET_body": sized(b"GET /v1/x", JSON),
    "GET_chunked_body": chunked(b"GET /v1/x", framed(JSON) + STREAM_END),
    "HEAD_body": sized(b"HEAD /v1/x", JSON),
    "OPTIONS_body": sized(b"OPTIONS /v1/x", JSON),
    "preflight": request(
        b"OPTIONS /v1/x", b"Origin: http://page", b"Access-Control-Request-Method: POST",
        b"Access-Control-Request-Headers: authorization,content-type",
    ),
}  # fmt: skip

_FIELDS: dict[str, tuple[bytes, ...]] = {
    "none_but_host": (),
    "mixed_case": (b"X-Mixed-CASE: 1", b"x-lower: 2", b"X-UPPER: 3"),
    "order": (b"B: 1", b"A: 2", b"C: 3", b"A: 4"),
    "duplicates": (b"X-A: 1", b"Cookie: a=1", b"x-a: 2", b"X-A: 1", b"Cookie: b=2"),
    "accept_twice": (b"Accept: text/plain", b"Accept: application/json"),
    "empty_value": (b"X-A:", b"X-B: ", b"X-C:\t"),
    "no_space": (b"X-A:1", b"X-B:2"),
    "much_space": (b"X-A:   1   ", b"X-B:\t2\t"),
    "inner_space": (b"X-A: a  b\tc", b"X-B: , ,"),
    "latin1": (b"X-A: caf\xe9",),
    "utf8": ("X-A: Grüezi 你好 🙂".encode(),),
    "no_utf8": (b"X-A: \xff\xfe\x80",),
    "punctuation": (b'X-A: "\\;,=:@?#[]{}()<>|^`~', b"X-B: %00%0d%0a"),
    "odd_names": (b"X_Under: 1", b"9: 2", b"!#$%&'*+-.^_`|~: 3"),
    "cookie_8k": (b"Cookie: " + b"; ".join(b"k%d=%s" % (n, b"v" * 90) for n in range(80)),),
    "value_30k": (b"X-Long: " + b"a" * 30_000,),
    "ninety": tuple(b"X-%d: %d" % (n, n) for n in range(90)),
    "user_agent": (b"User-Agent: OpenAI/Python 1.0 (x; y)",),
    "accept_nothing_coded": (b"Accept-Encoding: identity;q=0, *;q=0",),
    "accept_codings": (b"Accept-Encoding: gzip, deflate, br, zstd",),
    "bearer": (b"Authorization: Bearer sk-test", b"OpenAI-Organization: org-1", b"OpenAI-Project: p"),
    "basic": (b"Authorization: Basic dTpw",),
    "other_keys": (b"api-key: k", b"x-api-key: k", b"anthropic-version: 2023-06-01"),
    "stainless": (b"x-stainless-lang: python", b"X-Stainless-Retry-Count: 0", b"Idempotency-Key: i-1"),
    "forwarded": (b"X-Forwarded-For: 1.2.3.4", b"Forwarded: for=1.2.3.4", b"Via: 1.1 other", b"X-Real-IP: 1.2.3.4"),
    "trace_context": (b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"tracestate: a=b"),
    "foreign_sessions": (b"Helicone-Session-Id: s", b"x-portkey-trace-id: t", b"x-litellm-tags: a", b"op-tags: b"),
    "conditional": (b'If-None-Match: "x"', b"If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT", b"Range: bytes=0-1"),
    "date_and_server": (b"Date: today", b"Server: mine"),
    "named_by_connection": (b"Connection: x-hop, X-Other", b"X-Hop: 1", b"x-other: 2", b"X-Kept: 3"),
    "connection_twice": (b"Connection: keep-alive", b"X-Hop: 1", b"connection: X-HOP"),
    "hop_by_hop": (b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"TE: trailers", b"X-Kept: 1"),
    "offers_h2c": (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    "offers_tls": (b"Connection: Upgrade", b"Upgrade: TLS/1.0"),
    "max_forwards": (b"Max-Forwards: 0",),
    "upgrade_insecure": (b"Upgrade-Insecure-Requests: 1", b"Sec-Fetch-Mode: cors", b"Priority: u=1"),
}

_TARGETS = {
    "percent": b"/v1/a%2Fb%20c%c3%a9/%41;p=1?q=%2F%3f&b=a+b&&c",
    "no_percent_code": b"/v1/%zz%?%",
    "percent_case": b"/v1/%e4%BD%a0",
    "empty_query": b"/v1/a?",
    "two_marks": b"/v1/a??",
    "marks_in_query": b"/v1/a?b?c=d?/e",
    "url_in_query": b"/v1/a?x=/../..&u=http://e/?a=b?c&j={%22a%22:[1]}",
    "nul_in_query": b"/v1/a?a=%00",
    "octets_in_query": b"/v1/a?q=\x80\xff",
    "octets_in_path": "/v1/fiché/你".encode(),
    "equals": b"/v1/a?=&==&a=&=b",
    "double_slash": b"/v1//a///b/",
    "mount": b"/v1",
    "mount_slash": b"/v1/",
    "mount_query": b"/v1?x=1",
    "dots_in_names": b"/v1/...a/a..b/.hidden/a./v1.2/....",
    "at_and_colon": b"/v1/models/a:b@c",
    "sub_delims": b"/v1/!$&'()*+,;=~-_",
    "raw_delims": b'/v1/a"<>|^`{}?"<>|^`{}',
    "star": b"/v1/*",
    "long_path": b"/v1/" + b"a" * 8000,
    "long_query": b"/v1/a?q=" + b"%20" * 4000,
    "azure": b"/v1/openai/deployments/my-gpt/chat/completions?api-version=2024-02-01",
}

_FORM = b"--b\r\nContent-Disposition: form-data; name=f\r\n\r\n\x00\xff\r\n--b--\r\n"
_CHUNKED_HEAD = request(b"POST /v1/x", b"Transfer-Encoding: chunked")
_BODIES: dict[str, tuple[ClientStep, ...]] = {
    "octets": (sized(b"POST /v1/x", OCTETS * 16),),
    "empty_sized": (sized(b"POST /v1/x", b""),),
    "none": (request(b"POST /v1/x"),),
    "one_mib": (sized(b"POST /v1/x", OCTETS * 4096),),
    "not_json": (sized(b"POST /v1/chat/completions", b'{"model": nonsense', b"Content-Type: application/json"),),
    "bom_and_spaces": (sized(b"POST /v1/chat/completions", b"\xef\xbb\xbf" + JSON + b" \r\n"),),
    "length_with_zeros": (request(b"POST /v1/x", b"Content-Length: 0005", body=b"hello"),),
    "chunked": (chunked(b"POST /v1/x", framed(JSON) + framed(b"x") + STREAM_END),),
    "chunked_empty": (chunked(b"POST /v1/x", STREAM_END),),
    "chunked_single_octets": (chunked(b"POST /v1/x", b"".join(framed(b"%c" % octet) for octet in JSON) + STREAM_END),),
    "chunked_sizes_as_written": (chunked(b"POST /v1/x", b"A\r\n0123456789\r\n0000a\r\n0123456789\r\n00\r\n\r\n"),),
    "chunk_extensions": (chunked(b"POST /v1/x", b'5;a=b\r\nhello\r\n1 ; c="d;e"\r\n!\r\n0;last\r\n\r\n'),),
    "chunked_large": (chunked(b"POST /v1/x", framed(OCTETS * 2048) + framed(OCTETS) + STREAM_END),),
    "chunked_in_capitals": (request(b"POST /v1/x", b"Transfer-Encoding: CHUNKED", body=framed(JSON) + STREAM_END),),
    "trailers": (chunked(b"POST /v1/x", framed(JSON) + b"0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n", b"Trailer: X-Sum"),),
    "trailers_unannounced": (chunked(b"POST /v1/x", framed(JSON) + b"0\r\nX-Sum: caf\xe9\r\n\r\n"),),
    "multipart": (sized(b"POST /v1/files", _FORM, b"Content-Type: multipart/form-data; boundary=b"),),
    "coded_gzip": (sized(b"POST /v1/chat/completions", gzip.compress(JSON, mtime=0), b"Content-Encoding: gzip"),),
    "coded_deflate": (sized(b"POST /v1/chat/completions", zlib.compress(JSON), b"Content-Encoding: deflate"),),
    "coded_br": (sized(b"POST /v1/chat/completions", brotli.compress(JSON), b"Content-Encoding: br"),),
    "coded_zstd": (sized(b"POST /v1/chat/completions", zstd.compress(JSON), b"Content-Encoding: zstd"),),
    "coded_unknown": (sized(b"POST /v1/chat/completions", JSON, b"Content-Encoding: x-mine, gzip"),),
    "octet_by_octet": tuple(bytes([octet]) for octet in sized(b"POST /v1/x", b"hello", b"X-A: 1")),
    "head_then_body": (request(b"POST /v1/x", b"Content-Length: 5"), b"he", b"llo"),
    "chunk_in_pieces": (_CHUNKED_HEAD, b"1", b"0\r", b"\n01234567", b"89abcdef\r", b"\n", b"0\r\n", b"\r\n"),
    "empty_line_first": (b"\r\n" + sized(b"POST /v1/x", JSON),),
    "empty_line_behind": (sized(b"POST /v1/x", JSON) + b"\r\n",),
}  # fmt: skip

_OLD = {
    "get": request(b"GET /v1/x", version=b"HTTP/1.0"),
    "get_without_host": b"GET /v1/x HTTP/1.0\r\nX-A: 1\r\n\r\n",
    "post": sized(b"POST /v1/x", JSON, version=b"HTTP/1.0"),
    "head": request(b"HEAD /v1/x", version=b"HTTP/1.0"),
}


def _answer(seen: RawRequest) -> list[Step]:
    answer = whole(b'{"ok": true}', b"Date: today", b"X-A: 1", b"Set-Cookie: a=1", b"x-a: 2", b"Set-Cookie: b=2")
    return [answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if seen.method == b"HEAD" else answer]


def _case(name: str, *sends: ClientStep, keeps: bool | None = True) -> Case:
    return Case(
        name, sends, _answer, methods_of([b"".join(step for step in sends if isinstance(step, bytes))]), keeps=keeps
    )


REQUEST_CASES = [
    *(_case(f"method-{name}", wire) for name, wire in _METHODS.items()),
    *(_case(f"fields-{name}", sized(b"POST /v1/x", JSON, *fields)) for name, fields in _FIELDS.items()),
    *(_case(f"get-fields-{name}", request(b"GET /v1/x", *_FIELDS[name])) for name in ("order", "offers_h2c", "utf8")),
    *(_case(f"target-{name}", request(b"GET " + target)) for name, target in _TARGETS.items()),
    *(_case(f"body-{name}", *sends) for name, sends in _BODIES.items()),
    *(_case(f"http10-{name}", wire, keeps=False) for name, wire in _OLD.items()),
    _case("http10-kept", request(b"GET /v1/x", b"Connection: keep-alive", version=b"HTTP/1.0"), keeps=None),
    _case("asked-to-close", request(b"GET /v1/x", b"Connection: close"), keeps=False),
    _case("asked-to-close-in-capitals", request(b"GET /v1/x", b"connection: x-a, CLOSE"), keeps=False),
]  # fmt: skip
