"""Calls in which request and answer overlap or interlock: expectations, early answers, pipelines, both at once."""

from tests.acceptance.differential.answer_cases import CHUNKED, END, EVENTS, GET, PLAIN
from tests.acceptance.differential.case import Case, ClientStep, Extent, Until, chunked, head, request, sized, whole
from tests.acceptance.differential.request_cases import JSON, OCTETS
from tests.raw_upstream import LeaveUnread, RawRequest, ReadBody, ReadPart, Step
from tests.upstream import STREAM_END, Dawdle, Hangup, framed

_EXPECT = b"Expect: 100-continue"
_WAITING = request(b"POST /v1/x", _EXPECT, b"Content-Length: %d" % len(JSON))
_WAITING_CHUNKED = request(b"POST /v1/x", _EXPECT, CHUNKED)
_CONTINUE = head(b"100 Continue")
_LARGE = request(b"POST /v1/files", b"Content-Length: %d" % (8 << 20))
_PART = OCTETS * 1024
_ARRIVED = Until(b"\r\n\r\n")


def _case(
    name: str, sends: tuple[ClientStep, ...], *steps: Step, upload: Extent = Extent.ALL, keeps: bool | None = None
) -> Case:
    return Case(name, sends, lambda _request: steps, (b"POST",), upload=upload, keeps=keeps)


def _echo(_seen: RawRequest) -> list[Step]:
    return [lambda seen: whole(seen.method + b" " + seen.target + b" " + seen.body)]


def _pipeline(name: str, *wires: bytes, methods: tuple[bytes, ...], keeps: bool | None = True) -> Case:
    return Case(name, (b"".join(wires),), _echo, methods, keeps=keeps)


_EXPECTATIONS = [
    _case("expect-continued", (_WAITING, _ARRIVED, JSON), _CONTINUE, ReadBody(), whole(PLAIN), keeps=True),
    _case(
        "expect-continued-late",
        (_WAITING, _ARRIVED, JSON),
        Dawdle(0.1),
        _CONTINUE,
        ReadBody(),
        whole(PLAIN),
        keeps=True,
    ),
    _case(
        "expect-continued-chunked",
        (_WAITING_CHUNKED, _ARRIVED, framed(JSON) + STREAM_END),
        _CONTINUE,
        ReadBody(),
        whole(PLAIN),
        keeps=True,
    ),
    _case(
        "expect-in-capitals",
        (request(b"POST /v1/x", b"EXPECT: 100-Continue", b"Content-Length: 2"), _ARRIVED, b"ab"),
        _CONTINUE,
        ReadBody(),
        whole(PLAIN),
    ),
    _case("expect-not-waited-for", (_WAITING + JSON,), ReadBody(), whole(PLAIN), keeps=True),
    _case("expect-not-waited-for-continued", (_WAITING + JSON,), _CONTINUE, ReadBody(), whole(PLAIN), keeps=True),
    _case(
        "expect-refused-417",
        (_WAITING,),
        LeaveUnread(),
        whole(b"no", b"Connection: close", status=b"417 Expectation Failed"),
        upload=Extent.PART,
    ),
    _case(
        "expect-refused-401",
        (_WAITING,),
        LeaveUnread(),
        whole(PLAIN, b"WWW-Authenticate: Bearer", b"Connection: close", status=b"401 Unauthorized"),
        upload=Extent.PART,
    ),
    _case(
        "expect-refused-413-by-closing",
        (_WAITING_CHUNKED,),
        LeaveUnread(),
        whole(PLAIN, b"Connection: close", status=b"413 Content Too Large"),
        Hangup(),
        upload=Extent.PART,
    ),
    _case(
        "expect-hints-before-continue",
        (_WAITING, Until(b"100 Continue\r\n\r\n"), JSON),
        head(b"103 Early Hints", b"Link: </a>"),
        _CONTINUE,
        ReadBody(),
        whole(PLAIN),
    ),
    _case(
        "expect-something-else",
        (sized(b"POST /v1/x", JSON, b"Expect: x-odd"),),
        ReadBody(),
        whole(b"no", status=b"417 Expectation Failed"),
    ),
    _case("expect-without-a-body", (request(b"POST /v1/x", _EXPECT, b"Content-Length: 0"),), ReadBody(), whole(PLAIN)),
]
_EARLY = [
    _case(
        "early-413-and-close",
        (_LARGE, _PART),
        ReadPart(10),
        whole(b"too much", b"Connection: close", status=b"413 Content Too Large"),
        Hangup(),
        upload=Extent.PART,
    ),
    _case(
        "early-413-client-sends-on",
        (_LARGE, *(_PART for _ in range(8))),
        ReadPart(1),
        LeaveUnread(),
        whole(b"too much", b"Connection: close", status=b"413 Content Too Large"),
        upload=Extent.PART,
    ),
    _case(
        "early-401-before-any-body",
        (_LARGE,),
        LeaveUnread(),
        whole(PLAIN, b"Connection: close", status=b"401 Unauthorized"),
        upload=Extent.PART,
    ),
    _case(
        "early-200-upload-goes-on",
        (request(b"POST /v1/x", b"Content-Length: 10"), b"01234", _ARRIVED, b"56789"),
        ReadPart(5),
        whole(PLAIN),
        ReadBody(),
        upload=Extent.PART,
    ),
    _case(
        "early-stream-while-uploading",
        (request(b"POST /v1/x", CHUNKED), framed(b"a"), Until(b"got a"), framed(b"b"), Until(b"got b"), STREAM_END),
        ReadPart(1),
        head(b"200 OK", CHUNKED),
        framed(b"got a"),
        ReadPart(2),
        framed(b"got b"),
        ReadBody(),
        STREAM_END,
    ),
    _case(
        "early-events-while-uploading",
        (request(b"POST /v1/chat/completions", b"Content-Length: 2"), b"{", Until(b"data: 1"), b"}"),
        ReadPart(1),
        head(b"200 OK", EVENTS, CHUNKED),
        framed(b"data: 1\n\n"),
        ReadBody(),
        END,
    ),
    _case(
        "early-hints-while-uploading",
        (request(b"POST /v1/x", b"Content-Length: 2"), b"a", Until(b"103 Early"), b"b"),
        ReadPart(1),
        head(b"103 Early Hints"),
        ReadBody(),
        whole(PLAIN),
    ),
]
_BODY = sized(b"POST /v1/b", b"hello")
_PIPELINES = [
    _pipeline("pipeline-gets", *(request(b"GET /v1/%d" % n) for n in range(8)), methods=(b"GET",) * 8),
    _pipeline("pipeline-posts", *(sized(b"POST /v1/%d" % n, b"body %d" % n) for n in range(5)), methods=(b"POST",) * 5),
    _pipeline(
        "pipeline-mixed",
        GET,
        _BODY,
        chunked(b"PUT /v1/c", framed(b"x") + b"0\r\nX-T: 1\r\n\r\n"),
        GET,
        methods=(b"GET", b"POST", b"PUT", b"GET"),
    ),
    _pipeline(
        "pipeline-ends-with-close",
        GET,
        request(b"GET /v1/last", b"Connection: close"),
        methods=(b"GET", b"GET"),
        keeps=False,
    ),
    _pipeline("pipeline-body-looks-like-a-request", sized(b"POST /v1/a", GET), GET, methods=(b"POST", b"GET")),
    _pipeline(
        "pipeline-chunk-looks-like-a-request",
        chunked(b"POST /v1/a", framed(GET) + STREAM_END),
        GET,
        methods=(b"POST", b"GET"),
    ),
    _pipeline("pipeline-empty-lines-between", GET, b"\r\n", _BODY, b"\r\n", GET, methods=(b"GET", b"POST", b"GET")),
    _pipeline(
        "pipeline-http10-kept",
        request(b"GET /v1/a", b"Connection: keep-alive", version=b"HTTP/1.0"),
        methods=(b"GET",),
        keeps=None,
    ),
]
_REALTIME = request(
    b"GET /v1/realtime?model=m",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)
_UPGRADES = [
    Case(
        "upgrade-refused-401",
        (_REALTIME,),
        lambda _: [whole(PLAIN, b"WWW-Authenticate: Bearer", status=b"401 Unauthorized")],
        passes_upgrade=True,
    ),
    Case(
        "upgrade-refused-404",
        (_REALTIME,),
        lambda _: [head(b"404 Not Found", CHUNKED), framed(PLAIN), STREAM_END],
        passes_upgrade=True,
    ),
    Case(
        "upgrade-refused-426",
        (_REALTIME,),
        lambda _: [whole(PLAIN, b"Sec-WebSocket-Version: 13, 8", status=b"426 Upgrade Required")],
        passes_upgrade=True,
    ),
    Case("upgrade-answered-plainly", (_REALTIME,), lambda _: [whole(PLAIN)], passes_upgrade=True),
    Case(
        "upgrade-refused-by-closing",
        (_REALTIME,),
        lambda _: [head(b"403 Forbidden", b"X-A: 1"), PLAIN, Hangup()],
        passes_upgrade=True,
        keeps=None,
    ),
]
MEETING_CASES = [*_EXPECTATIONS, *_EARLY, *_PIPELINES, *_UPGRADES]
