"""The answer to a request that is none, or that comes over one connection too many: given before any call is begun."""

from proxy.api_error import error_body
from proxy.wire.head import encode_head

_REASONS = {
    400: b"Bad Request", 408: b"Request Timeout", 414: b"URI Too Long", 431: b"Request Header Fields Too Large",
    501: b"Not Implemented", 503: b"Service Unavailable", 505: b"HTTP Version Not Supported",
}  # fmt: skip
_CODES = {
    408: "request_timeout", 414: "target_too_long", 431: "head_too_large", 501: "not_implemented",
    503: "too_many_connections", 505: "version_not_supported",
}  # fmt: skip


def encode_refusal(status: int, message: str) -> bytes:
    """Return the whole answer, after which the connection ends.

    Args:
        status: One of those that heads are refused with, or 503.
        message: What is wrong and what would not be; quotes nothing of the request.
    """
    code = _CODES.get(status, "bad_request")
    body = error_body(message, code=code, kind="invalid_request_error")
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-tracemill-error", code.encode()),
        (b"connection", b"close"),
    ]
    if status == 503:
        fields.append((b"retry-after", b"1"))
    return encode_head(b"HTTP/1.1 %d %b" % (status, _REASONS[status]), fields) + body
