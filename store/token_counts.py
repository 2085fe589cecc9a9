"""What a call used, read from the `usage` that its upstream reported, whatever the dialect.

Upstreams disagree about what their sums hold: Anthropic's `input_tokens` leave out what came from the cache or went
into it, all others' sums hold it; xAI's `completion_tokens` leave out reasoning. Here sums always hold everything.
"""

from typing import NamedTuple

import orjson

from store.trace import JsonText

MAX_TOKENS = 2**40
"""A count beyond it is nonsense that would overflow sums; it counts as not reported."""


class TokenCounts(NamedTuple):
    """Tokens of one call.

    Attributes:
        input: All tokens of the request, cached ones too; None when that was not reported.
        output: All tokens of the answer, reasoning too; None when that was not reported.
        cached: Of the input, read from the upstream's cache.
        cache_write: Of the input, written into the upstream's cache.
        cache_write_1h: Of those written, to be kept for an hour.
        reasoning: Of the output.
        audio_input: Of the input.
        audio_output: Of the output.
        tier: `flex`, `priority` or `batch`; None for the usual one.
    """

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    tier: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the call can be priced."""
        return self.input is not None and self.output is not None


_TIERS = {"flex": "flex", "priority": "priority", "fast": "priority", "batch": "batch"}


def count_tokens(usage: JsonText, endpoint: str | None = None, parameters: JsonText = b"") -> TokenCounts:
    """Read a usage object; what is not there, or no count, is None.

    Args:
        usage: As the upstream reported it.
        endpoint: Of the trace, which tells Anthropic's own endpoint from others.
        parameters: Of the request, where OpenAI's service tier stands.
    """
    try:
        told = orjson.loads(usage)
    except ValueError:
        return TokenCounts()
    if type(told) is not dict:
        return TokenCounts()
    get = told.get
    counted_in, counted_out = get("prompt_tokens"), get("completion_tokens")
    is_chat = counted_in is not None
    of_input = get("prompt_tokens_details" if is_chat else "input_tokens_details")
    of_output = get("completion_tokens_details" if is_chat else "output_tokens_details")
    if not is_chat:
        counted_in = get("input_tokens")
    if counted_out is None:
        counted_out = get("output_tokens")
    counted_in = counted_in if type(counted_in) is int and 0 <= counted_in <= MAX_TOKENS else None
    counted_out = counted_out if type(counted_out) is int and 0 <= counted_out <= MAX_TOKENS else None
    cached = written = reasoning = heard = said = None
    if type(of_input) is dict:
        cached, written = of_input.get("cached_tokens"), of_input.get("cache_write_tokens")
        heard = _count(of_input.get("audio_tokens"))
    if type(of_output) is dict:
        reasoning = _first(of_output.get("reasoning_tokens"), of_output.get("thinking_tokens"))
        said = _count(of_output.get("audio_tokens"))
    if cached is None:
        cached = _first(get("cache_read_input_tokens"), get("prompt_cache_hit_tokens"))
    elif type(cached) is not int or not 0 <= cached <= MAX_TOKENS:
        cached = None
    if written is None:
        written = get("cache_creation_input_tokens")
    if written is not None:
        written = _count(written)
    if counted_in is not None and (cached or written):
        of_cache = (cached or 0) + (written or 0)
        is_apart = not is_chat and (endpoint == "messages" or "cache_read_input_tokens" in told)
        if is_apart or of_cache > counted_in:
            counted_in += of_cache
    if reasoning and is_chat and counted_out is not None and counted_in is not None:
        total = get("total_tokens")
        if total == counted_in + counted_out + reasoning:
            counted_out += reasoning
    writes = get("cache_creation")
    tier = get("service_tier")
    if tier is None and b'"service_tier"' in parameters:
        tier = _requested_tier(parameters)
    return TokenCounts(
        counted_in,
        counted_out,
        cached,
        written,
        _count(writes.get("ephemeral_1h_input_tokens")) if type(writes) is dict else None,
        reasoning,
        heard,
        said,
        _TIERS.get(tier) if type(tier) is str else None,
    )


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def _first(*values: object) -> int | None:
    for value in values:
        if type(value) is int and 0 <= value <= MAX_TOKENS:
            return value
    return None


def _requested_tier(parameters: JsonText) -> object:
    try:
        told = orjson.loads(parameters)
    except ValueError:
        return None
    return told.get("service_tier") if type(told) is dict else None
