"""Which servers and keys a filed job gets, whatever its request names."""

from typing import Any

import pytest

from processing.config_file import parse
from processing.endpoint import endpoint
from processing.errors import InputError
from tracemill.job_kinds.servers import allowed

GENERAL = "http://general/v1"
TEACHERS = [
    {"base_url": "https://listed/v1/", "api_key_env": "LISTED_KEY"},
    {"base_url": "http://open/v1", "api_key_env": None},
]
ENVIRON = {
    "TRACEMILL_TEACHER_BASE_URL": GENERAL,
    "TRACEMILL_TEACHER_API_KEY": "general",
    "LISTED_KEY": "listed",
    "AWS_SECRET_ACCESS_KEY": "secret",
}


def asked(**model: Any) -> tuple[str, str | None]:
    """Where a model of that entry is asked, and with which key."""
    config = parse({"base": {"task": "question-answering"}, "models": {"m": model}}, source="config")
    found = endpoint("m", allowed(config, TEACHERS, ENVIRON), ENVIRON)
    return found.base_url.rstrip("/"), found.api_key


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({}, (GENERAL, "general")),
        ({"api_key_env": "TRACEMILL_TEACHER_API_KEY"}, (GENERAL, "general")),
        ({"base_url": f"{GENERAL}/"}, (GENERAL, "general")),
        ({"base_url": "https://listed/v1"}, ("https://listed/v1", "listed")),
        ({"base_url": "https://listed/v1/", "api_key_env": "LISTED_KEY"}, ("https://listed/v1", "listed")),
        ({"base_url": "http://open/v1"}, ("http://open/v1", None)),
    ],
)
def test_a_job_asks_the_servers_of_the_settings_with_their_own_keys(
    model: dict[str, str], expected: tuple[str, str | None]
) -> None:
    assert asked(**model) == expected


@pytest.mark.parametrize(
    "model",
    [
        {"base_url": "http://169.254.169.254/v1"},
        {"base_url": "https://listed/v1/../v2"},
        {"base_url": "https://listed/v1?x=1"},
        {"base_url": "https://listed@evil/v1"},
        {"base_url": "https://listed/v1@evil/v1"},
        {"base_url": "https://listed.evil/v1"},
        {"base_url": "https://evil@listed/v1"},
        {"base_url": "http://listed/v1"},
        {"base_url": "https://listed/v1", "api_key_env": "AWS_SECRET_ACCESS_KEY"},
        {"base_url": "https://listed/v1", "api_key_env": "TRACEMILL_TEACHER_API_KEY"},
        {"base_url": "http://open/v1", "api_key_env": "LISTED_KEY"},
        {"base_url": GENERAL, "api_key_env": "LISTED_KEY"},
        {"api_key_env": "AWS_SECRET_ACCESS_KEY"},
    ],
)
def test_a_job_reaches_no_other_server_and_no_other_variable(model: dict[str, str]) -> None:
    with pytest.raises(InputError) as refused:
        asked(**model)
    assert "AWS" not in str(refused.value)
