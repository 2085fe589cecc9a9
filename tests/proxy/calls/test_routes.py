"""Where a call goes, and where it can never go."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from proxy.calls.route_config import RouteConfig
from proxy.calls.routes import ByModel, Destination, Route, RouteTable, make_route_table, parse_upstream
from proxy.errors import RouteError, SettingsError

CONFIG = TypeAdapter(RouteConfig)
ENVIRON = {"AZURE_KEY": "az-1", "CLAUDE_KEY": " sk-ant \n", "SPACED": "canary key", "EMPTY": "  "}


def table(upstream: str | None, *routes: dict[str, object]) -> RouteTable:
    configs = [CONFIG.validate_python({"upstream": "http://up", **route}) for route in routes]
    return make_route_table(upstream, configs, environ=ENVIRON)


def went(routes: RouteTable, target: bytes, model: str | None = None) -> tuple[str, bytes]:
    found = routes.match(target)
    if isinstance(found, ByModel):
        found = found.match_model(model)
    return found.route.name, found.target


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
        ("http://vllm:8000/v1", b"/v1/models/gpt-4.1", b"/v1/models/gpt-4.1"),
        ("http://vllm:8000/v1", b"/v1/x;y=1/@z:1", b"/v1/x;y=1/@z:1"),
        ("http://vllm:8000/v1", b"/v1/100%", b"/v1/100%"),
        ("http://vllm:8000/v1", b"/v1/caf\xc3\xa9/%C3%A9?q=\xff\xe9", b"/v1/caf\xc3\xa9/%C3%A9?q=\xff\xe9"),
    ],
)
def test_a_target_keeps_its_bytes_under_the_base(upstream: str, asked: bytes, target: bytes) -> None:
    assert went(table(upstream), asked) == ("default", target)


CLIMBS = [
    b"/..", b"/.", b"/../admin", b"/./../admin", b"/a/../../admin", b"/a/..", b"/%2e%2e/admin", b"/.%2E/admin",
    b"/%2e./admin", b"/%2E", b"/..%2fadmin", b"/..%2Fadmin", b"/%2e%2e%2fadmin", b"/..%5cadmin", b"/..%5Cadmin",
    b"/a%2f..%2f..%2fadmin", b"/%252e%252e%252fadmin", b"/%252e%252e/admin", b"/..%252fadmin", b"/.%252e/admin",
    b"/%25252e%25252e%25252fadmin", b"/%2525252e%2525252e/admin", b"/%25252525252e/admin", b"/a/..;/b", b"/..;x=1/b",
    b"/.;/b", b"/%2e%2e;/b", b"/..%3b/b", b"/..%3Bx/b", b"/a\\..\\b", b"/\\..\\b", b"/a%5c..%5cb", b"/a%5c%2e%2e%5cb",
    b"/..%00/admin", b"/..%00.png", b"/%00../admin", b"/..%20/admin", b"/..%09/admin", b"/.%09./admin", b"/%0a../admin",
    b"/..%0d%0a/admin", b"/..%3fx", b"/..%23x", b"/%c0%ae%c0%ae/admin", b"/%c0%ae%c0%ae%c0%afadmin", b"/..%c0%afadmin",
    b"/..%c1%9cadmin", b"/%e0%80%ae%e0%80%ae/admin", b"/%f0%80%80%ae./admin", b"/\xc0\xae\xc0\xae/admin",
    b"/%uff0e%uff0e/admin", b"/%u002e%u002e/admin", b"/%u002E%u002E%u2215admin/..", b"/..%u002fadmin",
    b"/%ef%bc%8e%ef%bc%8e/admin", b"/..%ef%bc%8fadmin", b"/\xef\xbc\x8e\xef\xbc\x8e/admin", b"/%e2%80%a5/admin",
    b"/%e2%80%a4%e2%80%a4/admin", b"/..%ef%bc%bcadmin", b"/%ef%b9%92%ef%b9%92/admin",
]  # fmt: skip

NO_TARGETS = [
    b"/a\x00b", b"/a b", b"/a\tb", b"/a\r\nHost: evil", b"/a\nb", b"/a\x7fb", b"/a#b", b"/x?a b", b"/x?a\r\nb",
    b"/x?a#b",
]  # fmt: skip


@pytest.mark.parametrize("path", [*CLIMBS, *NO_TARGETS])
def test_a_path_that_some_server_could_read_as_climbing_is_refused(path: bytes) -> None:
    """Deciding on one reading of a path and forwarding another is how proxies are tricked."""
    several = table(
        "http://up/v1",
        {"name": "named"},
        {"name": "kept", "path": "/kept"},
        {"name": "cut", "path": "/cut/off", "strip": True},
        {"name": "globbed", "models": ["*"]},
        {"name": "aliased", "path": "/aliased", "model_alias": {"a": "b"}},
    )
    for routes, prefixes in (
        (table("http://up/v1"), [b"/v1"]),
        (several, [b"/v1", b"/u/named", b"/u/named/v1", b"/kept", b"/cut/off", b"/aliased"]),
    ):
        for prefix in prefixes:
            with pytest.raises(RouteError) as caught:
                routes.match(prefix + path)
            assert (caught.value.status, caught.value.code) == (400, "path_refused")


@pytest.mark.parametrize(
    "path",
    [
        b"/", b"", b"/v1x", b"/v2/chat/completions", b"//v1/x", b"*", b"/V1/x", b"http://e/v1/x", b"/?/v1/x",
        b"//evil.example/v1/x", b"///v1", b"/v1@evil.example/x", b"/v1%2fx", b"/%76%31/x", b"evil.example:443",
        b"https://evil.example/v1", b"/v1:80/x", b"/v1\\x", b"v1/x", b"/./v1/x", b"/x/../v1/y", b"/u/", b"/u/evil/x",
        b"/u/http://evil.example/x", b"/u/..", b"/u/../v1/x", b"/u/%6e", b"/u//v1", b"/U/n/x", b"/u",
    ],
)  # fmt: skip
def test_a_path_outside_the_mount_is_unknown(path: bytes) -> None:
    with pytest.raises(RouteError) as caught:
        table("http://up/v1", {"name": "n"}).match(path)
    assert (caught.value.status, caught.value.code) == (404, "unknown_route")


def test_no_target_names_an_authority() -> None:
    for asked in (b"/v1//evil.example/x", b"/v1//", b"/u/bare//evil.example", b"/v1///evil.example"):
        with pytest.raises(RouteError, match="two slashes"):
            table("http://up", {"name": "bare"}).match(asked)


pieces = st.sampled_from(
    [b"/", b"//", b".", b"..", b"%2e", b"%2F", b"%25", b"2e", b"2f", b"\\", b"%5c", b";", b"%00", b"\x00", b"a", b"v1",
     b"u", b"%c0%ae", b"\xef\xbc\x8e", b"%ef%bc%8e", b"@", b":", b"?", b"#", b" ", b"%", b"%u002e", b"evil.example"]
) | st.binary(max_size=3)  # fmt: skip


@given(st.sampled_from([b"/v1", b"/u/named", b"/kept", b"/cut/off", b""]), st.lists(pieces, max_size=12).map(b"".join))
@settings(max_examples=1500, deadline=None)
def test_whatever_the_target_is_it_stays_below_the_base(prefix: bytes, rest: bytes) -> None:
    routes = table(
        "http://up/base/v1",
        {"name": "named", "upstream": "http://up/base/v1"},
        {"name": "kept", "path": "/kept", "upstream": "http://up/base/v1"},
        {"name": "cut", "path": "/cut/off", "strip": True, "upstream": "http://up/base/v1"},
    )
    try:
        found = routes.match(prefix + rest)
    except RouteError:
        return
    assert isinstance(found, Destination)
    path = found.target.partition(b"?")[0]
    assert path == b"/base/v1" or path.startswith(b"/base/v1/")
    assert (prefix + rest).endswith(found.target.removeprefix(b"/base/v1").removeprefix(b"/"))
    for _ in range(6):
        segments = path.replace(b"\\", b"/").replace(b";", b"/").replace(b"\0", b"/").split(b"/")
        assert not {b".", b".."} & {segment.strip() for segment in segments}
        path = unquote_to_bytes(path)


AZURE = {"name": "azure", "upstream": "https://x.openai.azure.com", "path": "/openai/deployments/"}
CLAUDE = {"name": "claude", "upstream": "https://api.anthropic.com", "path": "/v1/messages", "models": ["claude-*"]}
LOCAL = {
    "name": "local",
    "upstream": "http://vllm:8000/v1",
    "path": "/local",
    "strip": True,
    "models": ["qwen*", "*/*"],
}


@pytest.mark.parametrize(
    ("asked", "model", "name", "target"),
    [
        (b"/v1/chat/completions", "gpt-4o", "default", b"/v1/chat/completions"),
        (b"/v1/chat/completions", None, "default", b"/v1/chat/completions"),
        (b"/v1/chat/completions", "qwen3", "local", b"/v1/chat/completions"),
        (b"/v1/chat/completions", "org/name", "local", b"/v1/chat/completions"),
        (b"/v1/chat/completions", "Qwen3", "default", b"/v1/chat/completions"),
        (b"/v1/chat/completions?x=1", "claude-4", "claude", b"/v1/chat/completions?x=1"),
        (b"/v1/messages?beta=true", None, "claude", b"/v1/messages?beta=true"),
        (b"/v1/messages/count_tokens", None, "claude", b"/v1/messages/count_tokens"),
        (b"/v1/messagesx", None, "default", b"/v1/messagesx"),
        (b"/openai/deployments/D/chat/completions?api-version=2024-10-21", None, "azure",
         b"/openai/deployments/D/chat/completions?api-version=2024-10-21"),
        (b"/u/azure/openai/deployments/D/x", None, "azure", b"/openai/deployments/D/x"),
        (b"/u/azure", None, "azure", b"/"),
        (b"/u/claude/v1/messages", None, "claude", b"/v1/messages"),
        (b"/u/local/v1/chat/completions", "gpt-4o", "local", b"/v1/chat/completions"),
        (b"/u/local/chat/completions", None, "local", b"/v1/chat/completions"),
        (b"/u/local?x", None, "local", b"/v1?x"),
        (b"/local/chat/completions", None, "local", b"/v1/chat/completions"),
        (b"/local/v1/chat/completions", None, "local", b"/v1/chat/completions"),
        (b"/local", None, "local", b"/v1"),
    ],
)  # fmt: skip
def test_name_then_path_then_model_decides(asked: bytes, model: str | None, name: str, target: bytes) -> None:
    assert went(table("https://api.openai.com/v1", AZURE, CLAUDE, LOCAL), asked, model) == (name, target)


def test_only_what_depends_on_the_model_asks_for_it() -> None:
    routes = table("http://up/v1", AZURE, CLAUDE, {"name": "a", "path": "/a", "model_alias": {"x": "y"}})
    asked = [b"/v1/x", b"/v1/messages", b"/openai/deployments/D/x", b"/u/claude/v1/x", b"/a/x", b"/u/a/x"]
    assert [isinstance(routes.match(target), ByModel) for target in asked] == [True, False, False, False, True, True]
    assert isinstance(table("http://up/v1", AZURE).match(b"/v1/chat/completions"), Destination)


def test_the_longest_prefix_wins_whatever_the_order() -> None:
    routes = table(
        None, {"name": "short", "path": "/a"}, {"name": "long", "path": "/a/b"}, {"name": "root", "path": "/v1"}
    )
    assert [went(routes, asked)[0] for asked in (b"/a/b/c", b"/a/bc", b"/a", b"/v1/x")] == [
        "long",
        "short",
        "short",
        "root",
    ]


def test_without_a_default_a_model_that_no_route_takes_is_told() -> None:
    routes = table(None, LOCAL)
    for model, said in (("gpt-4o", "the model 'gpt-4o'"), (None, "no model")):
        with pytest.raises(RouteError, match=said) as caught:
            went(routes, b"/v1/chat/completions", model)
        assert caught.value.status == 404
    with pytest.raises(RouteError, match="/local or /u/local"):
        routes.match(b"/other")


def test_a_routes_key_goes_where_its_upstream_wants_it() -> None:
    routes = table(
        None,
        {"name": "a", "api_key_env": "AZURE_KEY", "auth": "api-key"},
        {"name": "b", "api_key_env": "CLAUDE_KEY", "auth": "x-api-key"},
        {"name": "c", "api_key_env": "AZURE_KEY"},
        {"name": "d"},
    )
    assert [route.credential for route in routes.routes] == [
        (b"api-key", b"az-1"), (b"x-api-key", b"sk-ant"), (b"Authorization", b"Bearer az-1"), None,
    ]  # fmt: skip
    assert "az-1" not in repr(routes.routes)


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ([{"name": "a", "api_key_env": "NOT_THERE"}], "route 'a': the environment variable NOT_THERE is not set"),
        ([{"name": "a", "api_key_env": "EMPTY"}], "EMPTY is not set"),
        ([{"name": "a", "api_key_env": "SPACED"}], "SPACED holds spaces"),
        ([{"name": "a"}, {"name": "a"}], "the name 'a' is taken"),
        ([{"name": "default"}], "the name 'default' is taken"),
        ([{"name": "a", "path": "/p"}, {"name": "b", "path": "/p/"}], "path /p is taken"),
        ([{"name": "a", "path": "/v1"}], "path /v1 is taken"),
        ([{"name": "a", "upstream": "x"}], "route 'a': upstream is 'x'"),
        ([{"name": "a", "upstream": "http://up/é"}], "octets"),
        ([{"name": "a", "upstream": "http://up/a/../b"}], "dots"),
    ],
)
def test_routes_that_cannot_be_are_said_at_start(routes: list[dict[str, object]], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        table("http://up/v1", *routes)
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "api.example/v1", "ftp://x/v1", "https://", "https://u:p@x/v1", "https://x/v1?k=1", "https://x:99999/"]
)
def test_an_upstream_no_client_could_use_is_said_at_start(url: str) -> None:
    with pytest.raises(SettingsError, match="upstream"):
        parse_upstream(url)


def test_the_host_field_is_the_upstreams_own() -> None:
    def host(url: str) -> bytes:
        route: Route = parse_upstream(url)
        return route.host

    assert host("http://[::1]:8000/v1") == b"[::1]:8000"
    assert host("https://api.example/v1") == b"api.example"
