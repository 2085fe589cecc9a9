"""Counts of what the store holds, as the admin side gives them."""

from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.shape import Given, Time


class Percentiles(Given):
    """Milliseconds that half, 95 % and 99 % of the calls do not exceed, to 3 %; null where there are none."""

    p50: float | None
    p95: float | None
    p99: float | None


class CallSums(Given):
    """What some calls add up to. Tokens are summed over the calls that reported them."""

    calls: int
    complete: Annotated[int, Field(description="Calls whose trace holds a whole completion.")]
    errors: Annotated[int, Field(description="Calls that neither completed nor were given up by the client.")]
    error_rate: Annotated[float | None, Field(description="Share of errors; null without calls.")]
    input_tokens: Annotated[int, Field(description="Tokens of the requests, cached ones too.")]
    output_tokens: Annotated[int, Field(description="Tokens of the answers, reasoning too.")]
    cached_tokens: Annotated[int, Field(description="Of the input, read from an upstream's cache.")]
    cache_write_tokens: Annotated[int, Field(description="Of the input, written into an upstream's cache.")]
    reasoning_tokens: Annotated[int, Field(description="Of the output.")]
    total_tokens: int
    cost_usd: Annotated[float | None, Field(description="Of the calls that have a price; null where none has.")]
    unpriced_calls: Annotated[int, Field(description="Calls whose usage is known, but not their price.")]
    unreported_calls: Annotated[int, Field(description="Calls whose usage is not known, or not whole.")]
    request_bytes: int
    response_bytes: int
    duration_ms: Percentiles
    ttft_ms: Annotated[Percentiles, Field(description="From a call's arrival to the answer's first block.")]


class UsageGroup(CallSums):
    """What the calls of one group add up to, with what they have in common: the members that `group_by` names."""

    model: Annotated[str | None, Field(description="The requested model.")] = None
    served_model: str | None = None
    route: str | None = None
    upstream: str | None = None
    day: Annotated[str | None, Field(description="UTC.")] = None
    outcome: str | None = None
    status: Annotated[str | None, Field(description="Such as `2xx`; null where no answer came.")] = None


class Usage(Given):
    """What the calls of a selection used and cost."""

    is_scan: Annotated[
        bool, Field(description="Whether all selected traces were read, as `where` asks; else sums by day were.")
    ]
    uncounted_calls: Annotated[
        int,
        Field(description="Calls that an earlier version stored and that are still to be counted, at most; else 0."),
    ]
    total: CallSums
    groups: Annotated[list[UsageGroup], Field(description="Days in their order, then the most calls first.")]


class Stats(Given):
    """What the store holds."""

    traces: int
    complete: Annotated[int, Field(description="Traces that hold a whole completion.")]
    by_outcome: Annotated[dict[str, int], Field(description="Traces for each outcome that occurs.")]
    by_model: Annotated[
        dict[str, int], Field(description='Traces for each requested model; calls that named none under `""`.')
    ]
    prompt_tokens: Annotated[int, Field(description="Sum over the traces that reported it.")]
    completion_tokens: Annotated[int, Field(description="Sum over the traces that reported it.")]
    request_bytes: int
    response_bytes: int
    first_at: Annotated[Time | None, Field(description="When the oldest trace was made.")]
    last_at: Annotated[Time | None, Field(description="When the newest trace was made.")]
    nodes: Annotated[int, Field(description="Messages kept, each once.")]
    blobs: Annotated[int, Field(description="Other values kept, each once.")]
    body_bytes: Annotated[int, Field(description="What nodes and blobs come to unpacked.")]
    dead_letters: Annotated[int, Field(description="Journal entries or calls that could not be understood.")]
    bytes_on_disk: Annotated[int, Field(description="The database with its write-ahead log.")]
    journal_bytes: Annotated[int, Field(description="What waits in the journal, to the size of a segment.")]
    search_behind: Annotated[int, Field(description="Messages that are stored and not in the index for search yet.")]
    usage: Annotated[Usage, Field(description="Of the calls that `from`, `to` and `where` select.")]
