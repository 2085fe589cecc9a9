"""What passes, what stays, what may be written down."""

import weakref

from proxy.calls.headers import forwarded, key_fingerprint, recorded_request, recorded_response, to_upstream
from proxy.wire.fields import Names, names_of
from proxy.wire.head import parse_request_head

SECRET = b"Bearer sk-canary-1234567890"


def test_hop_by_hop_fields_and_those_that_connection_names_stay_behind() -> None:
    headers = [
        (b"connection", b"keep-alive, X-Hop"),
        (b"x-hop", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"TE", b"trailers"),
        (b"x-end", b"2"),
    ]
    assert forwarded(headers) == [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x-end", b"2")]


def test_the_upstream_sees_its_own_host_and_none_of_our_fields() -> None:
    headers = [(b"host", b"127.0.0.1:8080"), (b"authorization", SECRET), (b"X-Tracemill-Session", b"s")]
    assert to_upstream(headers, host=b"api.example") == [(b"host", b"api.example"), (b"authorization", SECRET)]


def test_the_clients_framing_goes_on_in_its_place_and_a_length_beside_chunks_does_not() -> None:
    """Two framings on one message are how requests are smuggled (RFC 9112, 6.3)."""
    host, chunked = (b"Host", b"h"), (b"Transfer-Encoding", b"chunked")
    assert to_upstream([chunked, (b"x-a", b"1")], host=b"h") == [host, chunked, (b"x-a", b"1")]
    assert to_upstream([(b"content-length", b"3"), chunked], host=b"h") == [host, chunked]
    assert forwarded([(b"content-length", b"3"), chunked]) == []
    assert to_upstream([(b"content-length", b"0")], host=b"h") == [host, (b"content-length", b"0")]


def test_a_length_said_several_times_is_said_once() -> None:
    """RFC 9110, 8.6."""
    assert forwarded([(b"Content-Length", b"5"), (b"a", b"b"), (b"content-length", b"5")]) == [
        (b"Content-Length", b"5"),
        (b"a", b"b"),
    ]
    assert forwarded([(b"content-length", b"5, 5")]) == [(b"content-length", b"5")]


def test_a_length_that_connection_names_is_the_length_all_the_same() -> None:
    """Dropped, it would take the body with it: the upstream would get a POST without one."""
    fields = [(b"Host", b"us"), (b"Connection", b"content-length, x-hop"), (b"Content-Length", b"5"), (b"x-hop", b"1")]
    assert to_upstream(fields, host=b"h") == [(b"Host", b"h"), (b"Content-Length", b"5")]
    assert forwarded(fields) == [(b"Host", b"us"), (b"Content-Length", b"5")]


def test_heads_with_names_of_their_own_leave_nothing_behind() -> None:
    """Remembered by what is found out of them, some hundred large heads would take half a gigabyte for good."""

    def names_seen(count: int) -> weakref.ref[Names]:
        lines = b"".join(b"x-%d: 1\r\n" % number for number in range(count))
        fields = parse_request_head(b"POST /v1/x HTTP/1.1\r\nHost: h\r\n%b\r\n" % lines).fields
        to_upstream(fields, host=b"h")
        forwarded(fields)
        recorded_request(fields)
        recorded_response(fields)
        key_fingerprint(fields, b"salt")
        return weakref.ref(names_of(fields))

    assert names_seen(3)() is not None
    assert names_seen(3_000)() is None


def test_readiness_for_trailers_and_an_offer_of_another_protocol_are_said_anew() -> None:
    """Both concern one connection, and are true of ours, too (RFC 9110, 7.8 and 10.1.4)."""
    sent = [(b"Host", b"us"), (b"Connection", b"Upgrade, TE"), (b"Upgrade", b"websocket"), (b"TE", b"trailers, gzip")]
    assert to_upstream(sent, host=b"h", has_upgrade=True) == [
        (b"Host", b"h"),
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"TE", b"trailers"),
        (b"Connection", b"TE"),
    ]
    assert to_upstream(sent, host=b"h") == [(b"Host", b"h"), (b"TE", b"trailers"), (b"Connection", b"TE")]


def test_no_credential_can_be_recorded() -> None:
    """An allow-list: a field nobody thought of is not written down."""
    headers = [
        (name, SECRET)
        for name in (b"authorization", b"api-key", b"x-api-key", b"cookie", b"x-new-secret", b"proxy-authorization")
    ]
    assert recorded_request(headers) == ()
    assert recorded_response([(b"set-cookie", SECRET)]) == ()


def test_session_fields_of_ours_and_of_others_are_recorded() -> None:
    headers = [(b"X-Tracemill-Session", b"s"), (b"Helicone-Property-Env", b"prod"), (b"content-type", b"a\xe9")]
    assert recorded_request(headers) == (
        ("x-tracemill-session", "s"),
        ("helicone-property-env", "prod"),
        ("content-type", "a\xe9"),
    )


def test_a_fingerprint_tells_keys_apart_and_depends_on_the_salt() -> None:
    one = key_fingerprint([(b"Authorization", SECRET)], b"salt")
    assert one is not None
    assert len(one) == 16
    assert one != key_fingerprint([(b"Authorization", SECRET + b"x")], b"salt")
    assert one != key_fingerprint([(b"Authorization", SECRET)], b"pepper")
    assert key_fingerprint([], b"salt") is None
