"""Settings of the export: wrong ones are said at start, keys never."""

import sys

import pytest

from proxy.errors import SettingsError
from proxy.otlp.config import read_headers, traces_url
from proxy.settings_source import load_settings

UPSTREAM = {"upstream": "http://127.0.0.1:1/v1"}


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://otlp.example.com/otlp", "https://otlp.example.com/otlp/v1/traces"),
        ("https://otlp.example.com/otlp/v1/traces", "https://otlp.example.com/otlp/v1/traces"),
    ],
)
def test_a_base_url_and_the_whole_one_are_both_understood(endpoint: str, url: str) -> None:
    assert traces_url(endpoint) == url


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:4318", "grpc://c:4317", "http://", "https://u:sk-secret@c", "https://c/?key=sk-secret"]
)
def test_an_endpoint_that_cannot_be_is_refused_at_start(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="otlp_endpoint") as caught:
        load_settings({**UPSTREAM, "otlp_endpoint": endpoint}, None)
    assert "sk-secret" not in str(caught.value)


def test_header_fields_are_written_as_opentelemetry_does() -> None:
    environ = {"H": " Authorization=Basic%20c2s=, x-key = a%2Cb ,"}
    assert read_headers("H", environ) == {"authorization": "Basic c2s=", "x-key": "a,b"}
    assert read_headers(None, environ) == {}


@pytest.mark.parametrize("environ", [{}, {"H": "sk-secret"}, {"H": "a=b,=sk-secret"}, {"H": "a=b%0d%0ac: sk-secret"}])
def test_header_fields_that_are_none_are_said_without_them(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="H") as caught:
        read_headers("H", environ)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("setting", [{"otlp_content": True}, {"otlp_headers_env": "H"}])
def test_what_has_no_effect_without_an_endpoint_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="no effect"):
        load_settings({**UPSTREAM, **setting}, None)


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.proto", None)
    with pytest.raises(SettingsError, match=r"pip install 'tracemill\[otel\]'"):
        load_settings({**UPSTREAM, "otlp_endpoint": "http://127.0.0.1:4318"}, None)
