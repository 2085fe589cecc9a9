import pytest

from proxy.admin.host_check import is_own_host


@pytest.mark.parametrize(
    "host",
    [
        b"127.0.0.1",
        b"127.0.0.1:8081",
        b"localhost",
        b"LocalHost:8081",
        b"[::1]",
        b"[::1]:8081",
        b"[::ffff:127.0.0.1]:1",
        b"10.1.2.3:80",
        b"admin.internal:8081",
    ],
)
def test_names_of_this_machine_pass(host: bytes) -> None:
    assert is_own_host([host], own_names=["Admin.Internal"])


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b":8081",
        b"evil.example",
        b"evil.example:8081",
        b"localhost.evil.example",
        b"localhost:",
        b"localhost:99999",
        b"localhost:8081:1",
        b"localhost:8081/",
        b"localhost:8081/#@evil.example",
        b"evil.example@localhost",
        b"localhost#evil.example",
        b"localhost?x",
        b"local host",
        b" localhost",
        b"localhost\n",
        b"127.0.0.1.evil.example",
        b"127.0.0.1.",
        b"127.1",
        b"2130706433",
        b"0x7f.0.0.1",
        b"0177.0.0.1",
        b"::1",
        b"[127.0.0.1]",
        b"[::1",
        b"[::1]evil",
        b"[fe80::1%25eth0]",
        b"localhost.",
        b"\xff",
        "\uff4cocalhost".encode(),
    ],
)
def test_anything_else_is_refused(host: bytes) -> None:
    assert not is_own_host([host], own_names=["admin.internal"])


def test_none_or_two_hosts_are_refused() -> None:
    assert not is_own_host([])
    assert not is_own_host([b"localhost", b"localhost"])
