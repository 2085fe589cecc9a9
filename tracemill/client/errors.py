"""What can go wrong when the admin side is asked.

TracemillError
├── UnreachableError          nothing answered, or the answer broke off
├── AnswerError               what answered is no admin side of Tracemill, or a much later one
├── JobError                  a job that was waited for failed, or stopped and will not go on by itself
└── RefusedError              the admin side answered an error
    ├── InvalidRequestError   400, 413, 415: what was asked is wrong; `param` names what
    ├── TokenError            401: no token, or a wrong one
    ├── ForbiddenError        403: the token allows less, or the host name is not the admin side's
    ├── NotFoundError         404: nothing of that id
    ├── ConflictError         409: the id is of something else
    ├── TooManyFailuresError  429: too many wrong tokens came from here
    └── ServerError           5xx: the store cannot be reached, or a fault of the admin side
"""

import json
from typing import ClassVar


class TracemillError(Exception):
    """Base of every error of the client; the message tells what happened, never a token."""


class UnreachableError(TracemillError):
    """Nothing answered in time, or the answer broke off before its end."""


class AnswerError(TracemillError):
    """The answer is none of the admin side."""


class JobError(TracemillError):
    """A job that was waited for failed, or stopped and will not go on by itself.

    Attributes:
        id: The job's id.
        status: Where it stands.
        error: Why, in the job's words; None where it did not say.
    """

    def __init__(self, id: str, status: str, error: str | None) -> None:  # noqa: A002
        super().__init__(f"job {id} is {status}: {error or 'it did not say why'}")
        self.id = id
        self.status = status
        self.error = error


class RefusedError(TracemillError):
    """The admin side answered an error.

    Attributes:
        status: Status of the answer.
        code: Stable code of the error; docs/admin-api.md lists them.
        param: The parameter or the body's member at fault, None when there is none.
        message: What happened, for a person.
    """

    statuses: ClassVar[frozenset[int]] = frozenset()

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(f"{message} ({status} {code})")
        self.status = status
        self.code = code
        self.message = message
        self.param = param


class InvalidRequestError(RefusedError):
    """What was asked cannot be: a parameter, a filter, a cursor or a body."""

    statuses = frozenset({400, 405, 413, 415})


class TokenError(RefusedError):
    """The admin side asks for a token, and for another one than was given."""

    statuses = frozenset({401})


class ForbiddenError(RefusedError):
    """The token may read and not change, or the base URL names the admin side by a name that is not its own."""

    statuses = frozenset({403})


class NotFoundError(RefusedError):
    """There is nothing of that id."""

    statuses = frozenset({404})


class ConflictError(RefusedError):
    """The id is of something else that was asked before."""

    statuses = frozenset({409})


class TooManyFailuresError(RefusedError):
    """Too many wrong tokens came from this address.

    Attributes:
        retry_after_s: When to try again; None when it was not said.
    """

    statuses = frozenset({429})
    retry_after_s: int | None = None


class ServerError(RefusedError):
    """The store cannot be reached now, or the admin side failed; what was asked may be asked again."""

    statuses = frozenset(range(500, 600))


_KINDS = (
    InvalidRequestError,
    TokenError,
    ForbiddenError,
    NotFoundError,
    ConflictError,
    TooManyFailuresError,
    ServerError,
)


def read_refusal(status: int, body: bytes, retry_after: str | None) -> TracemillError:
    """Make the error that an answer of status 400 or more tells."""
    try:
        told = json.loads(body)["error"]
        code, message, param = str(told["code"]), str(told["message"]), told["param"]
    except (ValueError, LookupError, TypeError):
        return AnswerError(f"An answer of status {status} is none of Tracemill's admin side: look at base_url.")
    kind = next((kind for kind in _KINDS if status in kind.statuses), RefusedError)
    refused = kind(status, code, message, param if isinstance(param, str) else None)
    if isinstance(refused, TooManyFailuresError) and retry_after is not None and retry_after.isdecimal():
        refused.retry_after_s = int(retry_after)
    return refused
