import pytest

from proxy.admin.origin_check import is_foreign

HOST = (b"host", b"127.0.0.1:8081")


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("GET", []),
        ("POST", []),
        ("POST", [(b"origin", b"http://127.0.0.1:8081"), (b"sec-fetch-site", b"same-origin")]),
        ("POST", [(b"origin", b"http://127.0.0.1:8081")]),
        ("GET", [(b"sec-fetch-site", b"none")]),
        ("GET", [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"navigate")]),
        ("GET", [(b"origin", b"http://evil.example")]),
    ],
)
def test_programs_own_pages_and_links_may_ask(method: str, fields: list[tuple[bytes, bytes]]) -> None:
    assert not is_foreign(method, [HOST, *fields])


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("POST", [(b"origin", b"http://evil.example")]),
        ("POST", [(b"origin", b"null")]),
        ("POST", [(b"origin", b"")]),
        ("POST", [(b"origin", b"http://127.0.0.1:8081@evil.example")]),
        ("POST", [(b"origin", b"http://127.0.0.1:8081/path")]),
        ("POST", [(b"origin", b"http://127.0.0.1:9999")]),
        ("POST", [(b"origin", b"http://[")]),
        ("POST", [(b"origin", b"http://127.0.0.1:8081"), (b"origin", b"http://evil.example")]),
        ("DELETE", [(b"origin", b"chrome-extension://127.0.0.1:8081")]),
        ("POST", [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"navigate")]),
        ("POST", [(b"sec-fetch-site", b"same-site")]),
        ("GET", [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"cors")]),
        ("GET", [(b"sec-fetch-site", b"cross-site")]),
        ("GET", [(b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"cross-site")]),
    ],
)
def test_what_a_foreign_page_sends_is_told(method: str, fields: list[tuple[bytes, bytes]]) -> None:
    assert is_foreign(method, [HOST, *fields])
