from typing import Any

import pytest

from processing import config_file
from processing.config import Config
from processing.endpoint import Endpoint, endpoint
from processing.errors import InputError


def test_a_query_of_the_base_url_stays_at_the_end() -> None:
    found = Endpoint("m", "http://u:p@x/openai/?api-version=1", "m", api_key="k")
    assert found.completions_url == "http://x/openai/chat/completions?api-version=1"
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
