"""A call routed by its model: read whole, sent to the right route, changed in one value or not at all."""

from typing import NamedTuple

import pytest

from proxy.calls.headers import RawHeaders
from proxy.calls.model_choice import ModelChoice
from proxy.calls.route_config import RouteConfig
from proxy.calls.routes import ByModel, make_route_table
from proxy.errors import RouteError

ROUTES = make_route_table(
    "http://up/v1",
    [
        RouteConfig(name="local", upstream="http://local/v1", models=("fast", "qwen*"),
                    model_alias={"fast": "qwen3-8b"}),
        RouteConfig(name="plain", upstream="http://plain/v1", models=("plain*",)),
    ],
    environ={},
)  # fmt: skip


MAX_BODY_BYTES = 1000


class Sent(NamedTuple):
    route: str
    fields: RawHeaders
    body: bytes | None
    alias: str | None


def send(fields: dict[str, str], *blocks: bytes, target: bytes = b"/v1/chat/completions") -> Sent:
    matched = ROUTES.match(target)
    assert isinstance(matched, ByModel)
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    choice = ModelChoice(matched, raw, max_body_bytes=MAX_BODY_BYTES)
    if choice.wants_body:
        for block in blocks:
            choice.feed(block)
    chosen = choice.settle()
    route = chosen.destination.route.name
    if not choice.wants_body:
        return Sent(route, raw, None, chosen.alias)
    return Sent(route, *chosen.rewrite(raw, b"".join(blocks)), chosen.alias)


def sized(body: bytes, **more: str) -> dict[str, str]:
    return {"Content-Type": "application/json", "Content-Length": str(len(body)), **more}


def test_an_alias_is_replaced_and_the_length_with_it() -> None:
    body = b'{"n": 1, "model" : "fast", "messages":[{"content":"fast \xff"}]}'
    sent = send(sized(body, Digest="sha-256=x", Accept="*/*"), body[:20], body[20:])
    assert sent.route == "local"
    assert sent.body == b'{"n": 1, "model" : "qwen3-8b", "messages":[{"content":"fast \xff"}]}'
    assert sent.fields == [
        (b"Content-Type", b"application/json"), (b"Content-Length", str(len(body) + 4).encode()), (b"Accept", b"*/*"),
    ]  # fmt: skip
    assert sent.alias == "qwen3-8b"


def test_a_chunked_body_stays_chunked() -> None:
    body = b'{"model":"fast"}'
    sent = send({"transfer-encoding": "chunked"}, body)
    assert (sent.fields, sent.body) == ([(b"transfer-encoding", b"chunked")], b'{"model":"qwen3-8b"}')


@pytest.mark.parametrize(
    ("body", "route"),
    [
        (b'{"model":"plain-1"}', "plain"),
        (b'{"model":"qwen3"}', "local"),
        (b'{"model":"gpt-4o"}', "default"),
        (b'{"messages":[]}', "default"),
        (b"no json", "default"),
        (b'{"model":"plain-1"', "default"),
    ],
)
def test_what_has_no_alias_keeps_every_byte(body: bytes, route: str) -> None:
    sent = send(sized(body, Digest="x"), body)
    assert (sent.route, sent.body, sent.alias) == (route, body, None)
    assert (b"Digest", b"x") in sent.fields


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Content-Length": "0"},
        {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": "900000000"},
        {"Content-Type": "audio/wav", "Transfer-Encoding": "chunked"},
        {"Content-Type": "application/octet-stream", "Content-Encoding": "gzip", "Content-Length": "5"},
    ],
)
def test_a_body_that_is_no_json_is_not_read(fields: dict[str, str]) -> None:
    """An upload of a file is streamed, whatever routes there are."""
    sent = send(fields, target=b"/v1/files")
    assert (sent.route, sent.body) == ("default", None)


@pytest.mark.parametrize(
    ("body", "fields", "status", "code"),
    [
        (b'{"model":"a","model":"b"}', {}, 400, "model_unreadable"),
        (b'{"model":"fast"}', {"Content-Encoding": "gzip"}, 400, "model_unreadable"),
        (b"{}", {"Content-Length": str(MAX_BODY_BYTES + 1)}, 413, "body_too_large"),
        (
            b'{"x":"' + b"x" * MAX_BODY_BYTES,
            {"Content-Length": "", "Transfer-Encoding": "chunked"},
            413,
            "body_too_large",
        ),
    ],
)
def test_a_model_that_cannot_be_read_is_refused_and_not_guessed(
    body: bytes, fields: dict[str, str], status: int, code: str
) -> None:
    """Sent to the default route, the call would go where the configuration says that its model does not."""
    with pytest.raises(RouteError) as caught:
        send({**sized(body), **fields}, body)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert "/u/NAME" in str(caught.value)
