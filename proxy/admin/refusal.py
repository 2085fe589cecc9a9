"""Every error that the admin side answers: a closed list of codes, each with its status, in one shape.

What is asked wrongly is raised as an `AdminRefusal`; the application makes the answer of it.
"""

from collections.abc import Mapping
from enum import Enum

from starlette.responses import Response

from proxy.api_error import error_body
from proxy.errors import ProxyError


class Code(Enum):
    """The stable code of an error, its status, and what it means; `docs/admin-api.md` lists them."""

    INVALID_PARAMETER = (400, "a parameter that is unknown here, stands twice, or has a value it cannot have")
    INVALID_FILTER = (400, "`where` cannot be understood; the message tells the position")
    INVALID_CURSOR = (400, "`cursor` is not one that a page gave")
    INVALID_BODY = (400, "the body is no JSON, or not what the operation takes; `param` names the member at fault")
    INVALID_TOKEN = (401, "no token, or a wrong one")
    HOST_NOT_ALLOWED = (403, "the `Host` header names no address of the admin side")
    FOREIGN_ORIGIN = (403, "a web page of another origin makes the request")
    SCOPE_MISSING = (403, "the token allows less than the operation needs")
    NOT_FOUND = (404, "no such path, or nothing of that id")
    METHOD_NOT_ALLOWED = (405, "a method that the path does not have; `Allow` names those it has")
    CONFLICT = (409, "the id is of something else that was asked before")
    BODY_TOO_LARGE = (413, "the body is longer than the operation takes")
    UNSUPPORTED_MEDIA_TYPE = (415, "the body's `Content-Type` is not the one the operation takes")
    TOO_MANY_FAILURES = (
        429,
        "too many wrong tokens from this address; `Retry-After` tells the seconds to wait",
    )
    HTTP_ERROR = (400, "anything else that HTTP forbids")
    INTERNAL_ERROR = (500, "a fault of ours; the log of `tracemill serve` has it")
    STORE_UNAVAILABLE = (503, "the store cannot be read, or the journal not written, now; the message says why")

    def __init__(self, status: int, meaning: str) -> None:
        self.status = status
        self.meaning = meaning

    @property
    def text(self) -> str:
        """The code as programs read it."""
        return self.name.lower()


class AdminRefusal(ProxyError):  # noqa: N818 - what was asked is at fault, not we
    """A request that gets an error for its answer.

    Attributes:
        code: Which error.
        param: The parameter or the body's member at fault, None when there is none.
    """

    def __init__(self, code: Code, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def error_response(
    code: Code, message: str, *, param: str | None = None, status: int | None = None, headers: Mapping[str, str] = {}
) -> Response:
    """Make an answer that is an error of ours.

    Args:
        code: Which error.
        message: What happened, with which input, how to mend it; never a token or a trace's content.
        param: The parameter at fault.
        status: Another status than the code's own.
        headers: Fields beside the content type.
    """
    body = error_body(message, code=code.text, param=param)
    return Response(body, status or code.status, headers=dict(headers), media_type="application/json")
