"""Counts of what the store holds, as the admin side gives them."""

from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.shape import Given, Time


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
