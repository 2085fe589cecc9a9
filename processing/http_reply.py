"""What the HTTP answer to a teacher call means: a completion, a fault to remember, or a reason to ask again."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from store.recorded.errors import LineError
from store.recorded.line import load_line

MAX_WAIT_S = 600.0
"""How long one call may wait for an upstream that keeps answering 429 before the run stops, with all work kept."""
STOPS = {
    401: (
        "unauthorized",
        "the key is refused. Check the variable that holds it (models.NAME.api_key_env or TRACEMILL_TEACHER_API_KEY).",
    ),
    402: ("unauthorized", "the account has no credit left. Top it up and run again: what is paid for is kept."),
    403: ("unauthorized", "the key may not use this model. Check the key and models.NAME.model."),
    404: (
        "not_found",
        "no such model or path. Check models.NAME.base_url (it ends in /v1 for most servers) and models.NAME.model.",
    ),
    405: ("not_found", "this is no chat completion server. Check models.NAME.base_url (it ends in /v1 for most)."),
}
"""Statuses after which no other question would fare better, each with a code and a remedy."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Service(NamedTuple):
    """What a server is asked for.

    Attributes:
        path: Of the requests, behind the base URL.
        field: The array that every answer holds.
    """

    path: str
    field: str


CHAT = Service("chat/completions", "choices")
EMBEDDINGS = Service("embeddings", "data")


@dataclass(frozen=True, slots=True)
class Completion:
    """How a call ended.

    Attributes:
        body: The whole completion; None when there is none.
        fault: None, or why the call is no answer: `context_length`, `rejected`, `failing`.
        detail: For a person; the upstream's own words for a rejection.
        attempts: Requests that were sent and counted.
        is_final: Whether asking again would be pointless, so that the end may be remembered.
        duration_ms: From sending the attempt that was answered to its last byte; None when none was answered whole.
    """

    body: dict[str, Any] | None
    fault: str | None = None
    detail: str | None = None
    attempts: int = 1
    is_final: bool = True
    duration_ms: float | None = None


class TryAgain(Exception):  # noqa: N818 - a signal, not an error
    """The same request may fare better in a moment.

    Attributes:
        problem: What happened, for a person.
        is_unreachable: Whether there was nobody to ask at all.
    """

    def __init__(self, problem: str, *, is_unreachable: bool = False) -> None:
        self.problem = problem
        self.is_unreachable = is_unreachable


class Patience(Exception):  # noqa: N818 - a signal, not an error
    """The upstream asks to wait.

    Attributes:
        seconds: How long; None when it does not say.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds


class Stop(Exception):  # noqa: N818 - a signal, not an error
    """No question to this model can be answered; somebody has to mend something.

    Attributes:
        code: As in `TeacherError`.
        problem: What happened and what to do.
    """

    def __init__(self, code: str, problem: str) -> None:
        self.code = code
        self.problem = problem


def read_reply(status: int, headers: Mapping[str, str], raw: bytes, service: Service = CHAT) -> Completion:
    """Read a whole answer.

    Args:
        status: The status code.
        headers: Header fields; names in any case when the mapping takes them so.
        raw: The body, content codings removed.
        service: What was asked for.

    Raises:
        Patience: 429, or 503 that names a time.
        Stop: The key, the path or the model is wrong.
        TryAgain: The server failed, or what it sent is no completion.
    """
    patience = retry_after_s(headers.get("retry-after"))
    if status == 429 or (status == 503 and patience is not None):
        raise Patience(patience)
    if status in STOPS:
        code, remedy = STOPS[status]
        raise Stop(code, f"status {status}: {remedy}")
    if 300 <= status < 400:
        raise Stop("not_found", f"status {status}: it sends us elsewhere. Write the final URL as models.NAME.base_url.")
    if status >= 500 or status in {408, 409, 425}:
        raise TryAgain(f"answered {status}")
    try:
        body = load_line(raw.removeprefix(_BYTE_ORDER_MARK))
    except LineError as exc:
        if status >= 400:
            return Completion(None, *_rejection(status, None))
        raise TryAgain(f"answered {status} with a body that is no completion ({exc.reason})") from exc
    if status >= 400:
        return Completion(None, *_rejection(status, body.get("error")))
    if not isinstance(body.get(service.field), list):
        # Some gateways answer 200 when the server behind them failed.
        raise TryAgain(f"answered {status} without {service.field}{_told(body.get('error'))}")
    return Completion(body)


def retry_after_s(value: str | None) -> float | None:
    """Read `Retry-After` (RFC 9110 section 10.2.3): seconds or a date; None when absent or neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        return min(max(seconds, 0.0), MAX_WAIT_S + 1) if not math.isnan(seconds) else None
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": UTC, nothing said of the place
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _rejection(status: int, error: object) -> tuple[str, str]:
    words = _words(error)
    code = error.get("code") if isinstance(error, dict) else None
    told = f"{code} {words}".lower()
    too_long = "context_length" in told or "context length" in told or "maximum context" in told or status == 413
    return ("context_length" if too_long else "rejected"), f"status {status}: {words or 'no reason given'}"


def _told(error: object) -> str:
    words = _words(error)
    return f": {words}" if words else ""


def _words(error: object) -> str:
    """The upstream's own words."""
    words = error.get("message") if isinstance(error, dict) else error
    return " ".join(words.split())[:500] if isinstance(words, str) else ""
