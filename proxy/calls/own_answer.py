"""Answers that are ours and not an upstream's."""

from proxy.api_error import error_body
from proxy.calls.headers import TRACE_ID_HEADER
from proxy.wire.client_call import ClientCall
from proxy.wire.fields import Fields

ERROR_HEADER = b"x-tracemill-error"
"""On errors that are ours: its value is the error's code."""

_REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    408: b"Request Timeout", 413: b"Content Too Large", 502: b"Bad Gateway", 503: b"Service Unavailable",
    504: b"Gateway Timeout",
}  # fmt: skip
_KINDS = {401: "authentication_error", 403: "permission_error"}
_RETRY_AFTER_S = b"1"


def answer_error(call: ClientCall, status: int, code: str, message: str, trace_id: str | None = None) -> None:
    """Answer with an error in the shape that OpenAI's clients read; cut the answer where one has begun.

    Args:
        call: The call.
        status: A status that is in use here.
        code: Stable code for programs.
        message: What happened, with which input, how to mend it; holds no key and no content of a call.
        trace_id: Where the call's record is.
    """
    if call.is_answer_begun:
        call.cut()
        return
    body = error_body(message, code=code, kind=_KINDS.get(status, "tracemill_error"))
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (ERROR_HEADER, code.encode()),
    ]
    if status == 503:
        fields.append((b"retry-after", _RETRY_AFTER_S))
    if trace_id is not None:
        fields.append((TRACE_ID_HEADER, trace_id.encode()))
    _answer(call, status, fields, body)


def answer_alive(call: ClientCall) -> None:
    """Say that this worker is alive and ready: a stopping one accepts no connection any more.

    Capture has no say here: a full disk must not take the path of the calls away (`docs/contract.md`).
    """
    _answer(call, 200, [(b"content-type", b"text/plain"), (b"content-length", b"3")], b"ok\n")


def _answer(call: ClientCall, status: int, fields: Fields, body: bytes) -> None:
    has_body = call.head.method != b"HEAD"
    call.begin_answer(status, _REASONS[status], fields, has_body=has_body)
    if has_body:
        call.send(body)
    call.finish([])
