"""What a call used, read from the `usage` that its upstream reported, whatever the dialect.

Upstreams disagree about what their sums hold: Anthropic's `input_tokens` leave out what came from the cache or went
into it, all others' sums hold it; xAI's `completion_tokens` leave out reasoning. Here sums always hold everything.
"""

from typing import NamedTuple, TypeAlias

import orjson

from store.trace import JsonText

_Object: TypeAlias = dict[str, object]

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
    told = _object(usage)
    if told is None:
        return TokenCounts()
    is_chat = told.get("prompt_tokens") is not None
    of_input = _details(told, "prompt_tokens_details" if is_chat else "input_tokens_details")
    of_output = _details(told, "completion_tokens_details" if is_chat else "output_tokens_details")
    cached = _cached(told, of_input)
    written = _count(_either(of_input.get("cache_write_tokens"), told.get("cache_creation_input_tokens")))
    reasoning = _first(of_output.get("reasoning_tokens"), of_output.get("thinking_tokens"))
    counted_in = _all_input(told, is_chat, endpoint, (cached or 0) + (written or 0))
    return TokenCounts(
        input=counted_in,
        output=_all_output(told, is_chat, counted_in, reasoning),
        cached=cached,
        cache_write=written,
        cache_write_1h=_count(_details(told, "cache_creation").get("ephemeral_1h_input_tokens")),
        reasoning=reasoning,
        audio_input=_count(of_input.get("audio_tokens")),
        audio_output=_count(of_output.get("audio_tokens")),
        tier=_tier(told, parameters),
    )


def _cached(told: _Object, of_input: _Object) -> int | None:
    named = of_input.get("cached_tokens")
    if named is not None:
        return _count(named)
    return _first(told.get("cache_read_input_tokens"), told.get("prompt_cache_hit_tokens"))


def _all_input(told: _Object, is_chat: bool, endpoint: str | None, of_cache: int) -> int | None:
    """The input with what came from the cache or went into it, which Anthropic leaves out."""
    counted = _count(told.get("prompt_tokens" if is_chat else "input_tokens"))
    if counted is None:
        return None
    is_apart = not is_chat and (endpoint == "messages" or "cache_read_input_tokens" in told)
    return counted + of_cache if is_apart or of_cache > counted else counted


def _all_output(told: _Object, is_chat: bool, counted_in: int | None, reasoning: int | None) -> int | None:
    """The output with reasoning, which xAI leaves out: only the total of all tells."""
    counted = _count(_either(told.get("completion_tokens"), told.get("output_tokens")))
    if counted is None or counted_in is None or not reasoning or not is_chat:
        return counted
    is_apart = told.get("total_tokens") == counted_in + counted + reasoning
    return counted + reasoning if is_apart else counted


def _tier(told: _Object, parameters: JsonText) -> str | None:
    tier = told.get("service_tier")
    if tier is None and b'"service_tier"' in parameters:
        tier = (_object(parameters) or {}).get("service_tier")
    return _TIERS.get(tier) if type(tier) is str else None


def _object(text: JsonText) -> _Object | None:
    try:
        told = orjson.loads(text)
    except ValueError:
        return None
    return told if type(told) is dict else None


def _details(told: _Object, name: str) -> _Object:
    found = told.get(name)
    return found if type(found) is dict else {}


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def _either(value: object, other: object) -> object:
    return other if value is None else value


def _first(*values: object) -> int | None:
    for value in values:
        if type(value) is int and 0 <= value <= MAX_TOKENS:
            return value
    return None
