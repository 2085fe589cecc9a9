"""The proxies that the environment names, and calls through them."""

import base64
import contextlib
import select
import socket
from pathlib import Path

import httpx2 as httpx
import pytest

from proxy.errors import SettingsError
from proxy.wire.pool import Pool
from proxy.wire.upstream_proxy import UpstreamProxies
from tests.proxy.wire.calls import read, request
from tests.proxy.wire.certificates import Authority
from tests.proxy.wire.raw_upstream import RawUpstream, read_head
from tests.upstream import ScriptedUpstream, plain


def found(environ: dict[str, str], url: str = "https://api.test:443") -> str | None:
    parts = httpx.URL(url)
    proxy = UpstreamProxies.from_environment(environ).find(parts.scheme, parts.host, parts.port or 443)
    return None if proxy is None else f"{proxy.scheme}://{proxy.host}:{proxy.port}"


def test_each_scheme_has_a_proxy_and_all_is_for_those_without() -> None:
    environ = {"HTTPS_PROXY": "http://s:1", "HTTP_PROXY": "http://p:2", "ALL_PROXY": "http://a:3"}
    assert found(environ) == "http://s:1"
    assert found(environ, "http://api.test:80") == "http://p:2"
    assert found({"ALL_PROXY": "http://a:3"}) == "http://a:3"
    assert found({"HTTP_PROXY": "http://p:2"}) is None
    assert found({}) is None


def test_lower_case_comes_first_and_a_bare_host_is_an_http_proxy() -> None:
    assert found({"HTTPS_PROXY": "http://upper:1", "https_proxy": "lower:3128"}) == "http://lower:3128"
    assert found({"https_proxy": "", "HTTPS_PROXY": "https://upper"}) == "https://upper:443"


def test_a_header_field_under_cgi_names_no_proxy() -> None:
    """CVE-2016-5385."""
    evil = {"REQUEST_METHOD": "GET", "HTTP_PROXY": "http://evil:1"}
    assert found(evil, "http://api.test:80") is None
    assert found({**evil, "http_proxy": "http://good:1"}, "http://api.test:80") == "http://good:1"


@pytest.mark.parametrize(
    ("exceptions", "url", "is_direct"),
    [
        ("*", "https://api.test:443", True),
        ("api.test", "https://api.test:443", True),
        ("test", "https://api.test:443", True),
        (".test", "https://api.test:443", True),
        ("*.test", "https://api.test:443", True),
        ("API.Test", "https://api.test:443", True),
        ("pi.test", "https://api.test:443", False),
        ("api.test:443", "https://api.test:443", True),
        ("api.test:444", "https://api.test:443", False),
        ("other, 10.0.0.0/8", "https://10.1.2.3:443", True),
        ("10.0.0.0/8", "https://11.1.2.3:443", False),
        ("10.0.0.0/8", "https://api.test:443", False),
        ("10.1.2.3", "https://10.1.2.3:443", True),
        ("::1", "https://[::1]:443", True),
        ("[::1]:443", "https://[0::1]:443", True),
        ("fe80::/10", "https://[fe80::5]:443", True),
        ("", "https://api.test:443", False),
        (", ,", "https://api.test:443", False),
        ("not/a/network", "https://api.test:443", False),
    ],
)
def test_what_no_proxy_names_is_reached_directly(exceptions: str, url: str, is_direct: bool) -> None:
    assert (found({"ALL_PROXY": "http://p:1", "NO_PROXY": exceptions}, url) is None) is is_direct
    assert (found({"ALL_PROXY": "http://p:1", "no_proxy": exceptions, "NO_PROXY": ""}, url) is None) is is_direct


@pytest.mark.parametrize(
    "url", ["ftp://u:secret@p:1", "http://", "http://u:secret@p:port", "http://p:99999", "http://[::1"]
)
def test_a_proxy_that_is_none_is_said_at_once_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="HTTPS_PROXY holds no URL of a proxy") as caught:
        UpstreamProxies.from_environment({"HTTPS_PROXY": url})
    assert "secret" not in str(caught.value)


async def test_a_plain_upstream_is_asked_for_in_absolute_form(upstream: ScriptedUpstream) -> None:
    upstream.script = lambda call: plain(call.target)
    environ = {"http_proxy": f"http://us%40er:pa%3ass@127.0.0.1:{upstream.port}"}
    pool = Pool(proxies=UpstreamProxies.from_environment(environ))
    for _ in range(2):
        call = request("GET", "http://api.test:8000/ignored", target=b"/v1/models?a=%41")
        assert await read(await pool.handle_async_request(call)) == [b"http://api.test:8000/v1/models?a=%41"]
    assert upstream.connections == 1
    assert upstream.calls[0].header(b"proxy-authorization") == b"Basic " + base64.b64encode(b"us@er:pa:ss")
    await pool.aclose()


def _relay(one: socket.socket, other: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([one, other], [], [], 20)
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            (other if source is one else one).sendall(data)


async def test_an_upstream_over_tls_is_reached_through_a_tunnel(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    heads: list[bytes] = []

    def script(connection: socket.socket, _: int) -> None:
        for _ in range(2):
            heads.append(read_head(connection))
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    def tunnel(connection: socket.socket, _: int) -> None:
        heads.append(read_head(connection))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
        with socket.create_connection(("127.0.0.1", upstream.port)) as onward:
            _relay(connection, onward)

    with RawUpstream(script, tls=authority.server_context("DNS:api.test")) as upstream, RawUpstream(tunnel) as proxy:
        environ = {"https_proxy": f"http://user:word@127.0.0.1:{proxy.port}"}
        pool = Pool(proxies=UpstreamProxies.from_environment(environ), tls=authority.client_context())
        for _ in range(2):
            call = request("GET", "https://api.test/v1", fields=[(b"Authorization", b"Bearer key")])
            assert await read(await pool.handle_async_request(call)) == [b"ok"]
        assert proxy.connections == 1
        await pool.aclose()
    connect, *requests = heads
    assert connect.startswith(b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\nProxy-Authorization: Basic ")
    assert b"Bearer" not in connect
    assert all(head.startswith(b"GET /v1 HTTP/1.1\r\n") and b"Proxy-" not in head for head in requests)
    assert len(requests) == 2


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\nX: secret\r\n\r\n", b"SSH-2.0\r\n\r\n", b""]
)
async def test_a_proxy_that_opens_no_tunnel_is_a_proxy_error(answer: bytes) -> None:
    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.sendall(answer)

    with RawUpstream(script) as proxy:
        environ = {"https_proxy": f"http://127.0.0.1:{proxy.port}"}
        pool = Pool(proxies=UpstreamProxies.from_environment(environ))
        with pytest.raises(httpx.ProxyError, match=r"opens no tunnel to api\.test:443") as caught:
            await pool.handle_async_request(request("GET", "https://api.test"))
        assert "secret" not in str(caught.value)
        assert pool.connections == 0
        await pool.aclose()


async def test_a_proxy_over_tls_is_left_to_httpx(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    authority = Authority(tmp_path)

    def script(connection: socket.socket, _: int) -> None:
        head = read_head(connection)
        target = head.split(b" ")[1]
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(target), target))

    with RawUpstream(script, tls=authority.server_context()) as proxy:
        environ = {"http_proxy": f"https://127.0.0.1:{proxy.port}"}
        pool = Pool(proxies=UpstreamProxies.from_environment(environ), tls=authority.client_context())
        call = request("GET", "http://api.test/v1")
        assert await read(await pool.handle_async_request(call)) == [b"http://api.test/v1"]
        await pool.aclose()
    assert upstream.calls == []


async def test_a_socks_proxy_without_its_package_is_a_clear_error() -> None:
    with contextlib.suppress(ImportError):
        import socksio  # noqa: F401 # type: ignore[import-not-found]

        pytest.skip("socksio is installed")
    pool = Pool(proxies=UpstreamProxies.from_environment({"ALL_PROXY": "socks5://127.0.0.1:1"}))
    with pytest.raises(httpx.ProxyError, match="needs the package socksio"):
        await pool.handle_async_request(request("GET", "http://api.test"))


async def test_a_scheme_that_is_not_http_is_said(pool: Pool) -> None:
    with pytest.raises(httpx.UnsupportedProtocol, match="'ftp'"):
        await pool.handle_async_request(request("GET", "ftp://api.test"))
