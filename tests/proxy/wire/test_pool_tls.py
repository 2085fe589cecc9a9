"""Upstreams over TLS: who is believed, and what the end of a connection means."""

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from proxy.wire.pool import Pool
from proxy.wire.upstream_proxy import UpstreamProxies
from tests.process_state import open_sockets
from tests.proxy.wire.calls import each, read, request
from tests.proxy.wire.certificates import Authority
from tests.proxy.wire.raw_upstream import RawUpstream, read_exactly, read_head, wait_gone

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
UNTIL_THE_END = b"HTTP/1.1 200 OK\r\n\r\nall of it"
NO_PROXIES = UpstreamProxies.from_environment({})


def answer_twice(connection: socket.socket, _: int) -> None:
    for _ in range(2):
        read_head(connection)
        connection.sendall(OK)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server_tls(authority: Authority) -> ssl.SSLContext:
    return authority.server_context()


@pytest.fixture
async def secure_pool(authority: Authority) -> AsyncIterator[Pool]:
    pool = Pool(tls=authority.client_context(), proxies=NO_PROXIES)
    yield pool
    await pool.aclose()


async def test_calls_over_tls_share_a_connection_and_name_their_host(
    secure_pool: Pool, server_tls: ssl.SSLContext
) -> None:
    names: list[str | None] = []
    server_tls.sni_callback = lambda _socket, name, _context: names.append(name)
    with RawUpstream(answer_twice, tls=server_tls) as upstream:
        for host in ("localhost", "localhost", "127.0.0.1"):
            call = request("GET", f"https://{host}:{upstream.port}")
            assert await read(await secure_pool.handle_async_request(call)) == [b"ok"]
        assert upstream.connections == 2
    assert names[0] == "localhost"


async def test_large_bodies_pass_both_ways(secure_pool: Pool, server_tls: ssl.SSLContext) -> None:
    size = 5_000_000

    def script(connection: socket.socket, _: int) -> None:
        for _ in range(2):
            read_head(connection)
            body = read_exactly(connection, size)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + body)

    with RawUpstream(script, tls=server_tls) as upstream:
        whole = os.urandom(size)
        blocks = each(whole[place : place + 100_000] for place in range(0, size, 100_000))
        for body in (whole, blocks):
            length = [(b"Content-Length", b"%d" % size)]
            call = request("POST", f"https://localhost:{upstream.port}", fields=length, body=body)
            assert b"".join(await read(await secure_pool.handle_async_request(call))) == whole
        assert upstream.connections == 1


@pytest.mark.parametrize("is_polite", [True, False])
async def test_a_slow_reader_loses_nothing_when_the_upstream_has_long_gone(
    secure_pool: Pool, server_tls: ssl.SSLContext, is_polite: bool
) -> None:
    """On uvloop, which tells of the end of a connection and forgets what TLS had received before."""
    size = 300_000
    gone = threading.Event()

    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
        assert isinstance(connection, ssl.SSLSocket)
        connection.setblocking(False)
        if is_polite:
            with contextlib.suppress(ssl.SSLWantReadError):
                connection.unwrap()
        connection.close()
        gone.set()

    with RawUpstream(script, tls=server_tls) as upstream:
        response = await secure_pool.handle_async_request(request("GET", f"https://localhost:{upstream.port}"))
        assert await asyncio.to_thread(gone.wait, 5)
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert len(b"".join(await read(response))) == size


@pytest.mark.parametrize("names", ["DNS:localhost", "DNS:other.test"], ids=["unknown authority", "another host"])
async def test_a_certificate_that_proves_nothing_is_refused(
    pool: Pool, secure_pool: Pool, authority: Authority, names: str
) -> None:
    before = open_sockets(os.getpid())
    refusing = pool if names == "DNS:localhost" else secure_pool
    with RawUpstream(answer_twice, tls=authority.server_context(names)) as upstream:
        with pytest.raises(httpx.ConnectError, match=r"localhost:\d+: .*certificate"):
            await refusing.handle_async_request(request("GET", f"https://localhost:{upstream.port}"))
        async with asyncio.timeout(10):
            while open_sockets(os.getpid()) > before + 1:
                await asyncio.sleep(0.01)
    assert refusing.connections == 0


async def test_an_authority_may_be_added_by_file(authority: Authority, server_tls: ssl.SSLContext) -> None:
    pool = Pool(ca_file=authority.file, proxies=NO_PROXIES)
    with RawUpstream(answer_twice, tls=server_tls) as upstream:
        call = request("GET", f"https://localhost:{upstream.port}")
        assert await read(await pool.handle_async_request(call)) == [b"ok"]
        await pool.aclose()


async def test_the_platforms_authorities_may_be_named_by_the_environment(
    authority: Authority, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    pool = Pool(proxies=NO_PROXIES)
    with RawUpstream(answer_twice, tls=server_tls) as upstream:
        call = request("GET", f"https://localhost:{upstream.port}")
        assert await read(await pool.handle_async_request(call)) == [b"ok"]
        await pool.aclose()


async def test_a_file_without_authorities_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Pool(ca_file=tmp_path / "missing.pem", proxies=NO_PROXIES)
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ssl.SSLError):
        Pool(ca_file=tmp_path / "empty.pem", proxies=NO_PROXIES)


async def test_who_speaks_no_tls_is_a_connect_error(secure_pool: Pool) -> None:
    def script(connection: socket.socket, _: int) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        wait_gone(connection)

    with RawUpstream(script) as upstream, pytest.raises(httpx.ConnectError):
        await secure_pool.handle_async_request(request("GET", f"https://localhost:{upstream.port}"))


async def test_connecting_includes_tls(secure_pool: Pool) -> None:
    with RawUpstream(lambda connection, _: wait_gone(connection)) as upstream:
        call = request("GET", f"https://localhost:{upstream.port}", timeouts={"connect": 0.3})
        with pytest.raises(httpx.ConnectTimeout):
            await secure_pool.handle_async_request(call)


async def test_an_answer_that_ends_with_tls_itself_is_whole(secure_pool: Pool, server_tls: ssl.SSLContext) -> None:
    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.sendall(UNTIL_THE_END)
        assert isinstance(connection, ssl.SSLSocket)
        connection.unwrap()

    with RawUpstream(script, tls=server_tls) as upstream:
        call = request("GET", f"https://localhost:{upstream.port}")
        assert b"".join(await read(await secure_pool.handle_async_request(call))) == b"all of it"


async def test_an_answer_that_ends_with_the_connection_under_tls_may_have_been_cut(
    secure_pool: Pool, server_tls: ssl.SSLContext
) -> None:
    """RFC 9112, 9.8."""

    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.sendall(UNTIL_THE_END)
        connection.shutdown(socket.SHUT_WR)

    with RawUpstream(script, tls=server_tls) as upstream:
        response = await secure_pool.handle_async_request(request("GET", f"https://localhost:{upstream.port}"))
        with pytest.raises(httpx.RemoteProtocolError, match="closing message of TLS"):
            await read(response)


async def test_a_sized_answer_is_whole_whatever_ends_its_connection(
    secure_pool: Pool, server_tls: ssl.SSLContext
) -> None:
    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_WR)

    with RawUpstream(script, tls=server_tls) as upstream:
        for _ in range(3):
            call = request("POST", f"https://localhost:{upstream.port}", body=b"x")
            assert await read(await secure_pool.handle_async_request(call)) == [b"ok"]


async def test_an_upstream_that_answers_early_and_closes_is_heard_over_tls_too(
    secure_pool: Pool, server_tls: ssl.SSLContext
) -> None:
    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        wait_gone(connection)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    with RawUpstream(script, tls=server_tls) as upstream:
        for _ in range(5):
            call = request("POST", f"https://localhost:{upstream.port}", body=endless())
            response = await secure_pool.handle_async_request(call)
            assert (response.status_code, await read(response)) == (413, [b"no"])


@pytest.fixture(autouse=True)
def _forget_names(server_tls: ssl.SSLContext) -> Iterator[None]:
    yield
    server_tls.sni_callback = None
