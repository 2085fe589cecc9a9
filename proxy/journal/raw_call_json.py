"""A raw call as JSON, for people who want to see what was really sent."""

import base64
from typing import Any

from proxy.journal.raw_call import HeaderList, RawCall


def raw_call_json(call: RawCall) -> dict[str, Any]:
    """Give a call as JSON values: its bodies as text where they are UTF-8, in base64 where they are not."""
    return {
        "id": str(call.trace_id),
        "started_at": call.started_at.isoformat().replace("+00:00", "Z"),
        "method": call.method,
        "path": call.path,
        "route": call.route,
        "upstream": call.upstream,
        "outcome": call.outcome.value,
        "status": call.status,
        "ttft_ms": call.ttft_ms,
        "duration_ms": call.duration_ms,
        "error": call.error,
        "request": _side(call.request_headers, call.request_body, call.request_bytes, call.is_request_truncated),
        "response": _side(call.response_headers, call.response_body, call.response_bytes, call.is_response_truncated),
    }


def _side(headers: HeaderList, body: bytes, size: int, is_truncated: bool) -> dict[str, Any]:
    try:
        encoding, text = "utf-8", body.decode()
    except UnicodeDecodeError:
        encoding, text = "base64", base64.b64encode(body).decode("ascii")
    return {
        "headers": [[name, value] for name, value in headers],
        "body": text,
        "body_encoding": encoding,
        "bytes": size,
        "is_truncated": is_truncated,
    }
