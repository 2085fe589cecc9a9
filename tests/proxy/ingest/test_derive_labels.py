"""Labels and opting out."""

from typing import Any

import pytest

from store.trace import Outcome
from tests.proxy.ingest.raw_calls import (
    REQUEST,
    asked,
    made,
)


@pytest.mark.parametrize(
    ("headers", "session", "user"),
    [
        ([("x-tracemill-session", "s"), ("helicone-session-id", "h")], "s", "u-1"),
        ([("helicone-session-id", "h"), ("helicone-user-id", "hu")], "h", "hu"),
        ([("x-portkey-trace-id", "p")], "p", "u-1"),
        ([("x-litellm-session-id", "l"), ("x-tracemill-user", "tu"), ("helicone-user-id", "hu")], "l", "tu"),
        ([("x-tracemill-session", " ")], None, "u-1"),
        ([("x-tracemill-user", "é漢".encode().decode("latin-1"))], None, "é漢"),
    ],
)
def test_session_and_user_come_from_our_headers_first(
    headers: list[tuple[str, str]], session: str | None, user: str
) -> None:
    trace = asked(REQUEST, *headers)
    assert (trace.session, trace.user) == (session, user)


@pytest.mark.parametrize(
    ("headers", "tags"),
    [
        ([("x-tracemill-tags", "env=prod, team = a=b ,urgent,,")], {"env": "prod", "team": "a=b", "urgent": ""}),
        (
            [("x-tracemill-tags", '{"env":"prod","n":1,"on":true,"none":null,"o":{"k":"é"}}')],
            {"env": "prod", "n": "1", "on": "true", "o": '{"k": "é"}'},
        ),
        ([("x-tracemill-tags", '["a","b"]')], {"a": "", "b": ""}),
        ([("x-litellm-tags", "a,b"), ("op-tags", '{"p":"q"}')], {"a": "", "b": "", "p": "q"}),
        ([("x-portkey-metadata", '{"env":"x"}'), ("x-tracemill-tags", "env=y")], {"env": "y"}),
        ([("helicone-property-plan", "pro"), ("helicone-property-", "x")], {"plan": "pro"}),
        ([("x-tracemill-tags", "proxy_key=mine"), ("x-tracemill-proxy-key", "team")], {"proxy_key": "team"}),
        ([("x-tracemill-tags", "{broken")], {"{broken": ""}),
        ([("x-tracemill-tags", r'{"a":"\ud800"}')], {"a": "\ufffd"}),
    ],
)
def test_tags_are_read_in_every_form(headers: list[tuple[str, str]], tags: dict[str, str]) -> None:
    assert asked(REQUEST, *headers).tags == tags


@pytest.mark.parametrize(
    ("body", "headers"),
    [(REQUEST, [("x-tracemill-capture", "Metadata")]), (REQUEST | {"store": False}, [])],
)
def test_an_opted_out_call_keeps_no_content(body: dict[str, Any], headers: list[tuple[str, str]]) -> None:
    trace = asked(body, *headers)
    assert (trace.endpoint, trace.messages, trace.tools, trace.response_format) == (None, (), None, None)
    assert (trace.parameters, trace.replies, trace.metadata, trace.error) == (b"{}", (), None, None)
    assert (trace.requested_model, trace.prompt_tokens, trace.user) == ("m-1", 3, "u-1")


def test_an_opted_out_error_keeps_no_body() -> None:
    trace = made(
        status=400,
        outcome=Outcome.UPSTREAM_ERROR,
        response_body=b"bad prompt: secret",
        request_headers=(("x-tracemill-capture", "metadata"),),
    )
    assert (trace.outcome, trace.error) == (Outcome.UPSTREAM_ERROR, None)


def test_store_true_changes_nothing() -> None:
    assert asked(REQUEST | {"store": True}).is_complete
