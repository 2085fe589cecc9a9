"""Usage as upstreams report it, each in its own words; sums always hold everything, and nothing is made up."""

import pytest
from hypothesis import given

from store.json_text import dumps
from store.token_counts import TokenCounts, count_tokens
from tests.store.traces import JSON_TEXTS


@pytest.mark.parametrize(
    ("usage", "endpoint", "counts"),
    [
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 5},
                "completion_tokens_details": {"reasoning_tokens": 40, "audio_tokens": 2},
            },
            "chat.completions",
            TokenCounts(100, 50, cached=60, reasoning=40, audio_input=5, audio_output=2),
        ),
        (
            {
                "input_tokens": 100,
                "output_tokens": 50,
                "input_tokens_details": {"cached_tokens": 60},
                "output_tokens_details": {"reasoning_tokens": 40},
            },
            "responses",
            TokenCounts(100, 50, cached=60, reasoning=40),
        ),
        (
            {
                "input_tokens": 10,
                "output_tokens": 50,
                "cache_read_input_tokens": 60,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
                "service_tier": "batch",
            },
            "messages",
            TokenCounts(100, 50, cached=60, cache_write=30, cache_write_1h=10, tier="batch"),
        ),
        # DeepSeek.
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 5},
            "chat.completions",
            TokenCounts(9, 1, cached=4),
        ),
        # A gateway that speaks of Anthropic's cache in chat form, with a sum that holds it, and one whose sum does not.
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 1,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 3,
            },
            "chat.completions",
            TokenCounts(9, 1, cached=4, cache_write=3),
        ),
        (
            {
                "prompt_tokens": 2,
                "completion_tokens": 1,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 3,
            },
            "chat.completions",
            TokenCounts(9, 1, cached=4, cache_write=3),
        ),
        # xAI, whose completion tokens leave out reasoning.
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 1,
                "total_tokens": 17,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            "chat.completions",
            TokenCounts(9, 8, reasoning=7),
        ),
        ({"completion_tokens": 3}, "chat.completions", TokenCounts(None, 3)),
        ({"prompt_tokens": "9", "completion_tokens": -1}, "chat.completions", TokenCounts()),
        ({"prompt_tokens": 9.0, "completion_tokens": True}, "chat.completions", TokenCounts()),
        ({"prompt_tokens": 2**41, "prompt_tokens_details": [1]}, "chat.completions", TokenCounts()),
        ([], "chat.completions", TokenCounts()),
    ],
)
def test_usage_is_read_in_every_dialect(usage: object, endpoint: str, counts: TokenCounts) -> None:
    assert count_tokens(dumps(usage), endpoint) == counts


@pytest.mark.parametrize(
    ("parameters", "tier"),
    [
        (b'{"service_tier":"flex"}', "flex"),
        (b'{"service_tier":"auto"}', None),
        (b'{"metadata":{"service_tier":"flex"}}', None),
        (b'{"service_tier"', None),
    ],
)
def test_the_tier_that_was_asked_for_counts_where_usage_tells_none(parameters: bytes, tier: str | None) -> None:
    assert count_tokens(b'{"prompt_tokens":1}', None, parameters).tier == tier


@given(JSON_TEXTS, JSON_TEXTS)
def test_whatever_stands_there_is_read_or_left_out(usage: bytes, parameters: bytes) -> None:
    counts = count_tokens(usage, "messages", parameters)
    assert all(type(count) is int and count >= 0 for count in counts[:-1] if count is not None)
