"""A case of the differential suite: what a client sends, what the upstream does, and what both must have seen.

Each case runs twice, against the upstream itself and through the proxy, and the two observations must be equal once the
differences of `ALLOWED` are taken out. Nothing else may differ: not an octet, not the case of a name, not an order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from tests.raw_client import Ending, Fields, Interim, RawClient, Received
from tests.raw_upstream import RawRequest, RawUpstream, Script
from tests.upstream import plain

ALLOWED = {
    "hop-by-hop fields": "they concern one connection: the fixed list and what Connection names (RFC 9110, 7.6.1)",
    "host": "is the upstream's own, and stands first (RFC 9110, 7.2)",
    "request version": "is our own, 1.1, whatever the client speaks (RFC 9110, 2.5)",
    "answer version": "likewise towards the client",
    "chunk borders": "sizes and extensions of chunks are a matter of one connection (RFC 9112, 7.1.1)",
    "framing without a length": "close-delimited becomes chunked, and for a client of 1.0 the other way round "
    "(RFC 9112, 6.3 and 6.1); sized stays sized and none stays none",
    "persistence": "each connection is kept or closed by its own two ends (RFC 9112, 9.3)",
    "interim answers to HTTP/1.0": "a client of 1.0 must not get them (RFC 9110, 15.2)",
    "trailers to HTTP/1.0": "chunked framing is not spoken there, so they have no place (RFC 9112, 7.1)",
    "upload behind the answer": "a complete answer ends the call; what its client goes on sending is read and thrown "
    "away (RFC 9112, 9.5 leaves a client the choice to stop)",
    "x-tracemill-trace-id": "the one field that is added to every answer",
    "x-accel-buffering": "added with `no` to event streams that lack it, so that a proxy before us does not buffer",
}
"""Every difference that the comparison lets pass, and why."""

HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
    b"transfer-encoding", b"upgrade",
}  # fmt: skip
TRACE_ID = b"x-tracemill-trace-id"
PROBE = b"GET /v1/probe HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Extent(Enum):
    """How much of an upload must have reached the upstream."""

    ALL = "all"
    PART = "part"
    """The answer came first, and how much was on its way by then is a matter of time: one is the other's beginning."""


@dataclass(frozen=True)
class Until:
    """Wait until that has come from the server."""

    mark: bytes


class HalfClose:
    """Close the client's sending side."""


ClientStep = bytes | Until | HalfClose


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        sends: What the client does before it reads.
        methods: Of the requests it sends, in order; an answer is read for each.
        upload: How much of the request's body must arrive.
        keeps: Whether the client's connection can be used again afterwards; None when either is right.
        passes_upgrade: Whether the offer of another protocol goes on to the upstream, as for a WebSocket.
    """

    name: str
    sends: tuple[ClientStep, ...]
    script: Script
    methods: tuple[bytes, ...] = (b"GET",)
    upload: Extent = Extent.ALL
    keeps: bool | None = True
    passes_upgrade: bool = False


@dataclass(frozen=True)
class SeenRequest:
    """What the upstream got, `ALLOWED` taken out."""

    method: bytes
    target: bytes
    fields: Fields
    framing: str
    body: bytes
    trailers: Fields


@dataclass(frozen=True)
class SeenAnswer:
    """What the client got, `ALLOWED` taken out."""

    status: int
    reason: bytes
    fields: Fields
    body: bytes
    trailers: Fields
    interim: tuple[Interim, ...]
    is_whole: bool


@dataclass(frozen=True)
class Observation:
    """What both ends saw of one run of a case."""

    requests: list[RawRequest]
    answers: list[Received]
    is_reusable: bool = field(default=False)


def run(case: Case, upstream: RawUpstream, port: int, *, probes: bool) -> Observation:
    """Play the client's part against that port.

    Args:
        case: The case.
        upstream: The upstream, which plays its own part.
        port: Its port, or the proxy's.
        probes: Whether to try the connection with one more request afterwards.
    """
    upstream.script = lambda request: plain(b"probe") if request.target == b"/v1/probe" else case.script(request)
    before = len(upstream.requests)
    with RawClient(port, timeout_s=5) as client:
        for step in case.sends:
            match step:
                case bytes():
                    client.send(step)
                case Until():
                    client.wait_for(step.mark)
                case HalfClose():
                    client.half_close()
        answers = [client.read_answer(method) for method in case.methods]
        requests = upstream.requests[before:]
        is_reusable = False
        if probes and case.keeps is not None:
            client.send(PROBE)
            is_reusable = client.read_answer(b"GET").body == b"probe"
    for request in requests:
        assert request.is_over.wait(10), f"the upstream is not done with {request.line!r}"
    return Observation(requests, answers, is_reusable)


def seen_request(request: RawRequest) -> SeenRequest:
    fields = [(name, value) for name, value in end_to_end(request.fields) if name.lower() != b"host"]
    return SeenRequest(
        request.method, request.target, fields, request.framing, request.body, end_to_end(request.trailers)
    )


def seen_answer(answer: Received, *, is_through: bool, client_is_old: bool) -> SeenAnswer:
    fields = end_to_end(answer.fields)
    if is_through:
        assert len(answer.values(TRACE_ID)) == 1, f"the answer has no one trace id: {answer.fields}"
        fields = [(name, value) for name, value in fields if name.lower() != TRACE_ID]
    if is_event_stream(answer):
        fields = [(name, value) for name, value in fields if name.lower() != b"x-accel-buffering"]
    interim = () if client_is_old else tuple(replace(one, fields=end_to_end(one.fields)) for one in answer.interim)
    if client_is_old and is_through:
        assert answer.interim == ()
    trailers = [] if client_is_old else answer.trailers
    is_whole = answer.ending is Ending.WHOLE
    return SeenAnswer(answer.status, answer.reason, fields, answer.body, trailers, interim, is_whole)


def is_event_stream(answer: Received) -> bool:
    return any(kind.lower().startswith(b"text/event-stream") for kind in answer.values(b"content-type"))


def end_to_end(fields: Fields) -> Fields:
    """Return the fields that are not hop-by-hop."""
    named = {
        token.strip().lower() for name, value in fields if name.lower() == b"connection" for token in value.split(b",")
    }
    return [(name, value) for name, value in fields if name.lower() not in HOP_BY_HOP | named]


def request(line: bytes, *fields: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    """Write a request that has a Host; what a body needs is among the fields."""
    return b"\r\n".join([line + b" " + version, b"Host: h", *fields, b"", body])


def sized(line: bytes, body: bytes, *fields: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return request(line, *fields, b"Content-Length: %d" % len(body), body=body, version=version)


def chunked(line: bytes, framed: bytes, *fields: bytes) -> bytes:
    return request(line, *fields, b"Transfer-Encoding: chunked", body=framed)


def head(status: bytes, *fields: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([version + b" " + status, *fields, b"", b""])


def whole(body: bytes, *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """Write a sized answer."""
    return head(status, *fields, b"Content-Length: %d" % len(body)) + body


def bare_fields(fields: Fields) -> set[bytes]:
    return {name.lower() for name, _ in fields}


def framings_agree(direct: Received, through: Received, *, client_is_old: bool) -> bool:
    """Tell whether the two framings differ as `framing without a length` allows."""
    unsized = {"close", "chunked"}
    if direct.framing in unsized:
        return through.framing in ({"close"} if client_is_old else unsized)
    return direct.framing == through.framing


def methods_of(sends: Sequence[ClientStep]) -> tuple[bytes, ...]:
    first = next(step for step in sends if isinstance(step, bytes))
    return (first.lstrip(b"\r\n").split(b" ", 1)[0],)
