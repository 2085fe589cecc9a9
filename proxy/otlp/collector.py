"""Sending spans to a collector: OTLP over HTTP, protobuf, one request after the other.

What an answer means is OTLP's own rule (https://opentelemetry.io/docs/specs/otlp/#otlphttp-response): 429, 502, 503 and
504 ask for the same again later, any other failure is for good. The SDK's exporter tells its caller only "failed", so a
batch that a collector will never take could not be told from one to send again; so only the messages come from there.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

import httpx2 as httpx
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

_TIMEOUT_S = 10.0
"""Default of every OTLP exporter."""
_TO_REPEAT = frozenset({429, 502, 503, 504})
_MAX_WAIT_S = 300.0


class Verdict(Enum):
    """What became of a request."""

    TAKEN = auto()
    REFUSED = auto()
    """For good: the same request would be refused again."""
    LATER = auto()


class Delivery(NamedTuple):
    """What became of a request.

    Attributes:
        rejected: Spans that a collector refused out of a request that it took.
        wait_s: How long the collector asked to wait; None when it did not say.
        detail: For a person: a status or an error's kind. Never what the collector wrote.
    """

    verdict: Verdict
    rejected: int = 0
    wait_s: float | None = None
    detail: str = ""


class Collector:
    """One collector. Close it at the end."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        """Connect with the first request.

        Args:
            url: Where traces are posted, such as http://127.0.0.1:4318/v1/traces.
            headers: Sent with every request: keys.
        """
        self._url = url
        fields = {**headers, "content-type": "application/x-protobuf"}
        self._client = httpx.AsyncClient(headers=fields, timeout=_TIMEOUT_S, follow_redirects=False)

    async def send(self, spans: ResourceSpans) -> Delivery:
        """Send spans once."""
        body = ExportTraceServiceRequest(resource_spans=[spans]).SerializeToString()
        try:
            answer = await self._client.post(self._url, content=body)
        except httpx.HTTPError as error:
            return Delivery(Verdict.LATER, detail=type(error).__name__)
        if answer.is_success:
            return Delivery(Verdict.TAKEN, rejected=_rejected(answer))
        detail = f"status {answer.status_code}"
        if answer.status_code in _TO_REPEAT:
            return Delivery(Verdict.LATER, wait_s=_wait_s(answer), detail=detail)
        return Delivery(Verdict.REFUSED, detail=detail)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _rejected(answer: httpx.Response) -> int:
    """Read how many spans were not taken; 0 from a collector that answers in other words."""
    try:
        return int(ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans)
    except DecodeError:
        return 0


def _wait_s(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after", "")
    return min(float(text), _MAX_WAIT_S) if text.isascii() and text.isdigit() else None
