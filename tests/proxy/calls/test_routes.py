"""Where a call goes, and where it can never go."""

import pytest

from proxy.calls.routes import RouteTable, parse_upstream
from proxy.errors import RouteError, SettingsError


@pytest.mark.parametrize(
    ("upstream", "asked", "target"),
    [
        ("https://api.example/v1", b"/v1/chat/completions", b"/v1/chat/completions"),
        ("https://api.example/v1/", b"/v1/models?a=1&b=%20", b"/v1/models?a=1&b=%20"),
        ("http://vllm:8000/openai/api/v1", b"/v1/x", b"/openai/api/v1/x"),
        ("http://vllm:8000", b"/v1/x", b"/x"),
        ("http://vllm:8000", b"/v1", b"/"),
        ("http://vllm:8000/v1", b"/v1/files/a%20b%2Bc/content", b"/v1/files/a%20b%2Bc/content"),
        ("http://vllm:8000/v1", b"/v1/models/org%2Fname", b"/v1/models/org%2Fname"),
        ("http://vllm:8000/v1", b"/v1/a..b/...", b"/v1/a..b/..."),
        ("http://vllm:8000/v1", b"/v1//x", b"/v1//x"),
        ("http://vllm:8000/v1", b"/v1/x?", b"/v1/x?"),
        ("http://vllm:8000/v1", b"/v1/x?a=/../b?c", b"/v1/x?a=/../b?c"),
    ],
)
def test_a_target_keeps_its_bytes_under_the_base(upstream: str, asked: bytes, target: bytes) -> None:
    assert RouteTable(parse_upstream(upstream)).match(asked).target == target


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/../admin",
        b"/v1/..",
        b"/v1/.",
        b"/v1/%2e%2e/admin",
        b"/v1/.%2E/admin",
        b"/v1/..%2fadmin",
        b"/v1/..%5cadmin",
        b"/v1/%252e%252e%252fadmin",
        b"/v1/a/..;/b",
        b"/v1/a\\..\\b",
        b"/v1/a\x00b",
        b"/v1/a b",
    ],
)
def test_a_path_that_some_server_could_read_as_climbing_is_refused(path: bytes) -> None:
    """Deciding on one reading of a path and forwarding another is how proxies are tricked."""
    with pytest.raises(RouteError) as caught:
        RouteTable(parse_upstream("http://up/v1")).match(path)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "path", [b"/", b"/v1x", b"/v2/chat/completions", b"//v1/x", b"*", b"/V1/x", b"http://e/v1/x", b"/?/v1/x"]
)
def test_a_path_outside_the_mount_is_unknown(path: bytes) -> None:
    with pytest.raises(RouteError) as caught:
        RouteTable(parse_upstream("http://up/v1")).match(path)
    assert (caught.value.status, caught.value.code) == (404, "unknown_route")


@pytest.mark.parametrize(
    "url", ["", "api.example/v1", "ftp://x/v1", "https://", "https://u:p@x/v1", "https://x/v1?k=1", "https://x:99999/"]
)
def test_an_upstream_no_client_could_use_is_said_at_start(url: str) -> None:
    with pytest.raises(SettingsError, match="upstream"):
        parse_upstream(url)


def test_the_host_field_is_the_upstreams_own() -> None:
    assert parse_upstream("http://[::1]:8000/v1").host == b"[::1]:8000"
    assert parse_upstream("https://api.example/v1").host == b"api.example"
