"""What is kept of a call: the least of route, client and chance; chance is a hash, and takes conversations whole."""

from dataclasses import replace
from uuid import UUID

import pytest

from proxy.calls.route import Capture, Route, parse_upstream
from proxy.calls.sampling import SESSION_HEADERS, USER_HEADERS, allowed_capture, is_sampled
from proxy.ingest import labels

FULL = parse_upstream("http://up/v1")


def sampled(share: float) -> Route:
    return replace(FULL, sample=share)


@pytest.mark.parametrize(
    ("route", "wish", "kept"),
    [
        ("full", None, "full"),
        ("full", b"metadata", "metadata"),
        ("full", b" OFF ", "off"),
        ("full", b"full", "full"),
        ("full", b"nothing please", "metadata"),
        ("metadata", None, "metadata"),
        ("metadata", b"full", "metadata"),
        ("metadata", b"off", "off"),
        ("off", b"full", "off"),
        ("off", b"\xff", "off"),
    ],
)
def test_a_client_lowers_what_is_kept_and_never_raises_it(route: str, wish: bytes | None, kept: str) -> None:
    headers = [] if wish is None else [(b"X-Tracemill-Capture", wish)]
    assert allowed_capture(replace(FULL, capture=Capture(route)), headers) == kept


def test_the_share_is_what_was_asked_for() -> None:
    ids = [UUID(int=number) for number in range(4000)]
    for share in (0.01, 0.25, 0.9):
        taken = sum(is_sampled(sampled(share), [], trace_id) for trace_id in ids)
        assert abs(taken / 4000 - share) < 0.03
    assert all(is_sampled(FULL, [], trace_id) for trace_id in ids)


@pytest.mark.parametrize("header", [b"X-Tracemill-Session", b"helicone-session-id", b"x-tracemill-user"])
def test_a_conversation_is_in_or_out_as_a_whole(header: bytes) -> None:
    decisions = set()
    for number in range(60):
        headers = [(header, b"conversation %d" % number)]
        calls = {is_sampled(sampled(0.5), headers, UUID(int=call)) for call in range(20)}
        assert len(calls) == 1
        decisions |= calls
    assert decisions == {True, False}


def test_the_session_counts_before_the_user() -> None:
    def decide(session: int, user: int) -> bool:
        headers = [(b"x-tracemill-user", b"%d" % user), (b"x-tracemill-session", b"%d" % session)]
        return is_sampled(sampled(0.5), headers, UUID(int=0))

    assert all(decide(1, 0) == decide(1, user) for user in range(20))
    assert {decide(session, 0) for session in range(20)} == {True, False}


def test_a_larger_share_only_adds_and_the_choice_never_changes() -> None:
    """Were it to change from one release to the next, half-recorded conversations would be the result."""
    units = [[(b"x-tracemill-session", b"s%d" % number)] for number in range(300)]
    at = {
        share: {n for n, unit in enumerate(units) if is_sampled(sampled(share), unit, UUID(int=1))}
        for share in (0.1, 0.3)
    }
    assert at[0.1] < at[0.3]
    assert sorted(at[0.1])[:6] == [4, 7, 23, 40, 51, 56]


def test_the_headers_that_name_session_and_user_are_those_that_ingest_reads() -> None:
    assert [name.decode() for name in SESSION_HEADERS] == list(labels._SESSION_HEADERS)
    assert [name.decode() for name in USER_HEADERS] == list(labels._USER_HEADERS)
