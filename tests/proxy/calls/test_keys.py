"""Proxy keys: only digests are kept, a revoked key is refused, and no proxy key travels on."""

import asyncio
import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.calls.key_file import KEY_FILE, add_key, read_keys, revoke_key
from proxy.calls.keys import KeyRing, ProxyKey
from proxy.calls.route import parse_upstream
from proxy.errors import KeyFileError, RouteError

KEYLESS = parse_upstream("http://up/v1", name="keyless")
KEYED = replace(parse_upstream("http://up/v1", name="keyed"), credential=(b"api-key", b"own"))


def fields(key: str, name: bytes = b"Authorization", prefix: bytes = b"Bearer ") -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), (name, prefix + key.encode())]


def refused(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(RouteError) as caught:
        call()
    assert "tm-" not in str(caught.value)
    return caught.value.status, caught.value.code


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        (b"Authorization", b"Bearer "),
        (b"authorization", b"bearer   "),
        (b"Authorization", b"Bearer\t"),
        (b"Authorization", b"Token "),
        (b"Proxy-Authorization", b"Bearer "),
        (b"X-Api-Key", b""),
        (b"api-key", b""),
        (b"x-goog-api-key", b""),
        (b"Ocp-Apim-Subscription-Key", b""),
        (b"Helicone-Auth", b"Bearer "),
        (b"Cookie", b"a=b; key="),
        (b"Sec-WebSocket-Protocol", b"realtime, openai-insecure-api-key."),
    ],
)
def test_a_key_is_taken_wherever_clients_put_theirs(tmp_path: Path, name: bytes, prefix: bytes) -> None:
    made = add_key(tmp_path, "search", ("a", "b"))
    ring = KeyRing(tmp_path, is_required=True)
    found = ring.check(fields(made.key, name, prefix))
    assert found is not None
    assert (found.name, found.routes) == ("search", ("a", "b"))
    revoke_key(tmp_path, "search")
    lax = KeyRing(tmp_path, is_required=False)
    assert refused(lambda: lax.check(fields(made.key, name, prefix))) == (401, "invalid_api_key")
    assert lax.check(fields(f"{made.key}x", name, prefix)) is None


def test_the_file_holds_no_key_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = [add_key(tmp_path / "data", f"k{n}") for n in range(3)]
    finally:
        os.umask(old)
    for path in (tmp_path / "data").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not any(key.key[3:] in path.read_text() for key in made)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert not any(key.key in repr(key) for key in made)
    assert len({entry.digest for entry in read_keys(tmp_path / "data").keys}) == 3
    assert all(len(key.key) == 46 for key in made)


@pytest.mark.parametrize(
    "given",
    ["", "tm-", "sk-of-the-upstream", "tm-" + "x" * 43, "' OR '1'='1", "tm-\xff"],
)
def test_without_a_known_key_a_call_is_refused_where_one_is_asked_for(tmp_path: Path, given: str) -> None:
    add_key(tmp_path, "a")
    ring = KeyRing(tmp_path, is_required=True)
    assert refused(lambda: ring.check(fields(given))) == (401, "invalid_api_key")
    assert refused(lambda: ring.check([])) == (401, "invalid_api_key")


def test_where_none_is_asked_for_the_upstreams_keys_pass_and_lost_proxy_keys_do_not(tmp_path: Path) -> None:
    """A revoked proxy key would otherwise be sent to the upstream as if it were one of its own."""
    made = add_key(tmp_path, "a")
    ring = KeyRing(tmp_path, is_required=False)
    assert ring.check(fields("sk-of-the-upstream")) is None
    assert ring.check([]) is None
    found = ring.check([*fields("sk-of-the-upstream"), (b"x-api-key", made.key.encode())])
    assert found is not None
    assert found.name == "a"
    revoke_key(tmp_path, "a")
    ring.refresh()
    assert refused(lambda: ring.check(fields(made.key))) == (401, "invalid_api_key")


def test_a_key_opens_its_routes_and_none_without_a_key_of_its_own() -> None:
    ProxyKey("a").check_route(KEYED)
    ProxyKey("a", ("keyed",)).check_route(KEYED)
    assert refused(lambda: ProxyKey("a", ("other",)).check_route(KEYED)) == (403, "route_not_allowed")
    assert refused(lambda: ProxyKey("a").check_route(KEYLESS)) == (403, "route_without_key")


async def test_a_running_worker_learns_of_added_and_revoked_keys(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path, is_required=True)
    watch = asyncio.create_task(ring.keep_fresh())
    try:
        made = add_key(tmp_path, "a")
        await wait_until(lambda: accepts(ring, made.key))
        revoke_key(tmp_path, "a")
        await wait_until(lambda: not accepts(ring, made.key))
    finally:
        watch.cancel()


def accepts(ring: KeyRing, key: str) -> bool:
    try:
        return ring.check(fields(key)) is not None
    except RouteError:
        return False


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.02)


def test_a_damaged_file_is_said_at_start_and_changes_nothing_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = add_key(tmp_path, "a")
    ring = KeyRing(tmp_path, is_required=True)
    path = tmp_path / KEY_FILE
    for damage in ("", "{", "[]", '{"version": 2}', json.dumps({"keys": [{"name": "a"}]})):
        path.write_text(damage)
        with pytest.raises(KeyFileError, match="is no file of proxy keys"):
            KeyRing(tmp_path, is_required=True)
        ring.refresh()
        assert accepts(ring, made.key)
    assert caplog.text.count("stay as they were") == 1
    path.unlink()
    ring.refresh()
    assert not accepts(ring, made.key)


def test_commands_at_the_same_time_lose_no_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add_key(tmp_path, f"k{number}"), range(24)))
    assert sorted(entry.name for entry in read_keys(tmp_path).keys) == sorted(f"k{number}" for number in range(24))


@pytest.mark.parametrize("name", ["", "a b", "a\n", "x" * 65, "\x1b[2J"])
def test_a_name_that_is_none_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="is no name"):
        add_key(tmp_path, name)
    assert read_keys(tmp_path).keys == ()


def test_names_are_given_once_and_only_what_is_there_is_revoked(tmp_path: Path) -> None:
    add_key(tmp_path, "a")
    with pytest.raises(KeyFileError, match="there already"):
        add_key(tmp_path, "a")
    with pytest.raises(KeyFileError, match="no key is named 'b'"):
        revoke_key(tmp_path, "b")
