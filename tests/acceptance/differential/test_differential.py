"""Direct against through the proxy, on raw sockets: whatever both ends see is the same."""

from dataclasses import replace

import pytest

from tests.acceptance.differential.answer_cases import ANSWER_CASES
from tests.acceptance.differential.case import (
    HOP_BY_HOP,
    Case,
    Extent,
    SeenRequest,
    bare_fields,
    framings_agree,
    is_event_stream,
    run,
    seen_answer,
    seen_request,
)
from tests.acceptance.differential.known_gaps import with_gaps
from tests.acceptance.differential.meeting_cases import MEETING_CASES
from tests.acceptance.differential.request_cases import REQUEST_CASES
from tests.raw_upstream import RawUpstream
from tests.server import Server

CASES: dict[str, Case] = {case.name: case for case in (*REQUEST_CASES, *ANSWER_CASES, *MEETING_CASES)}


def test_every_case_has_a_name_of_its_own() -> None:
    assert len(CASES) == len(REQUEST_CASES) + len(ANSWER_CASES) + len(MEETING_CASES) > 250


@pytest.mark.parametrize("name", with_gaps(CASES))
def test_both_ends_see_what_they_see_without_the_proxy(
    raw_upstream: RawUpstream, raw_server: Server, name: str
) -> None:
    case = CASES[name]
    logged = len(raw_server.log())
    client_is_old = b" HTTP/1.0\r\n" in b"".join(step for step in case.sends if isinstance(step, bytes))
    direct = run(case, raw_upstream, raw_upstream.port, probes=False)
    through = run(case, raw_upstream, raw_server.port, probes=True)

    received = [request for request in through.requests if request.target != b"/v1/probe"]
    direct_requests, our_requests = (
        [seen_request(one) for one in direct.requests],
        [seen_request(one) for one in received],
    )
    if case.upload is Extent.PART:
        for one, other in zip(direct_requests, our_requests, strict=True):
            assert one.body.startswith(other.body) or other.body.startswith(one.body)
        direct_requests, our_requests = (
            [_without_body(one) for one in direct_requests],
            [_without_body(one) for one in our_requests],
        )
    assert our_requests == direct_requests
    for request in received:
        ours = bare_fields(request.fields) & HOP_BY_HOP - {b"connection", b"te", b"transfer-encoding"}
        assert not ours or case.passes_upgrade, f"hop-by-hop fields went on: {ours}"

    direct_answers = [seen_answer(one, is_through=False, client_is_old=client_is_old) for one in direct.answers]
    assert [seen_answer(one, is_through=True, client_is_old=client_is_old) for one in through.answers] == direct_answers
    for one, other in zip(direct.answers, through.answers, strict=True):
        assert framings_agree(one, other, client_is_old=client_is_old), (one.framing, other.framing)
        assert not is_event_stream(other) or other.values(b"x-accel-buffering") == [b"no"]
    assert case.keeps is None or through.is_reusable == case.keeps
    assert "Traceback" not in raw_server.log()[logged:]


def _without_body(seen: SeenRequest) -> SeenRequest:
    return replace(seen, body=b"", trailers=[])
