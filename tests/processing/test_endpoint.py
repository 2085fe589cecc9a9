from typing import Any

import pytest

from processing import config_file
from processing.config import Config
from processing.endpoint import Endpoint, endpoint
from processing.errors import InputError


def test_a_query_of_the_base_url_stays_at_the_end() -> None:
    found = Endpoint("m", "http://u:p@x/openai/?api-version=1", "m", api_key="k")
    assert found.url_of("chat/completions") == "http://x/openai/chat/completions?api-version=1"
    assert found.shown_url == "http://x/openai"


def config(**models: Any) -> Config:
    return config_file.parse({"base": {"task": "chat-completion"}, "models": models}, source="config.yaml")


def test_a_model_without_entry_goes_to_the_general_server() -> None:
    environ = {"TRACEMILL_TEACHER_BASE_URL": "http://x/v1", "TRACEMILL_TEACHER_API_KEY": "k"}
    found = endpoint("m", config(), environ)
    assert (found.base_url, found.model, found.api_key) == ("http://x/v1", "m", "k")
    assert "api_key" not in repr(found)


def test_the_general_key_never_goes_to_a_server_of_its_own() -> None:
    environ = {"TRACEMILL_TEACHER_BASE_URL": "http://x/v1", "TRACEMILL_TEACHER_API_KEY": "k", "OTHER": "o"}
    assert endpoint("m", config(m={"base_url": "http://y/v1"}), environ).api_key is None
    assert endpoint("m", config(m={"base_url": "http://y/v1", "api_key_env": "OTHER"}), environ).api_key == "o"
    assert endpoint("m", config(m={"model": "big"}), environ).api_key == "k"


def test_a_missing_server_or_key_names_the_variable() -> None:
    with pytest.raises(InputError, match="Set TRACEMILL_TEACHER_BASE_URL"):
        endpoint("m", config(), {})
    with pytest.raises(InputError, match="variable OTHER, which is not set"):
        endpoint("m", config(m={"base_url": "http://y/v1", "api_key_env": "OTHER"}), {})


@pytest.mark.parametrize(
    "url", ["ftp://x/v1", "http://[::1", "http:///v1", "http://x:99999/v1", "http://a b/v1", "x/v1"]
)
def test_a_base_url_that_cannot_be_asked_is_said_without_being_shown(url: str) -> None:
    with pytest.raises(InputError, match="a base URL that is not"):
        endpoint("m", config(), {"TRACEMILL_TEACHER_BASE_URL": url})
    with pytest.raises(InputError, match=r"models\.m\.base_url is not an http:// or https:// URL") as caught:
        config(m={"base_url": url.replace("//", "//me:secret@")})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-\n-x", "sk-\u00e9", "two words"])
def test_a_key_that_no_header_can_carry_is_said_without_being_shown(key: str) -> None:
    environ = {"TRACEMILL_TEACHER_BASE_URL": "http://x/v1", "TRACEMILL_TEACHER_API_KEY": key}
    with pytest.raises(InputError, match="TRACEMILL_TEACHER_API_KEY, which holds") as caught:
        endpoint("m", config(), environ)
    assert key not in str(caught.value)


def test_blanks_round_a_key_are_not_part_of_it() -> None:
    environ = {"TRACEMILL_TEACHER_BASE_URL": "http://x/v1", "TRACEMILL_TEACHER_API_KEY": " k\n"}
    assert endpoint("m", config(), environ).api_key == "k"
