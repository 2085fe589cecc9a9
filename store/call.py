"""A call of a teacher or judge as `work.db` keeps it, and the key that tells whether it was ever made."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from store import json_text
from store.group_commit import Statement

_Json = Any
_KEY_BYTES = 20
_KEY_VERSION = b"tracemill-call-1"


@dataclass(frozen=True, slots=True)
class Call:
    """A teacher call that has ended.

    Attributes:
        key: From `call_key`.
        purpose: The step that asked first.
        model: Name in the configuration.
        base_url: Where it was asked, without credentials.
        request: Request body as JSON text.
        reply: The completion as JSON text; None when the upstream gave none.
        usage: As reported, JSON text; None when it was not.
        cost: None when price or usage is unknown.
        attempts: Requests sent, waits that the upstream asked for apart.
        error: Why the reply is no answer; None for an answer.
        duration_ms: From sending the attempt that was answered to its last byte; None when that was not measured.
    """

    key: bytes
    purpose: str
    model: str
    base_url: str
    request: bytes
    reply: bytes | None
    usage: bytes | None
    cost: float | None
    attempts: int
    error: str | None = None
    duration_ms: float | None = None


class Verdict(NamedTuple):
    """What a call said of one example among several.

    Attributes:
        value: As the judging step stored it.
        call_key: The call that said it.
    """

    value: _Json
    call_key: bytes


def call_key(*, base_url: str, body: Mapping[str, Any], attempt: int = 0) -> bytes:
    """Derive the key of a call from everything that decides its answer.

    Args:
        base_url: Where it is asked, without credentials.
        body: The whole request body: model, messages and every parameter.
        attempt: Tells repeated draws of one request apart.
    """
    return content_key(base_url, body, attempt)


def content_key(*parts: _Json) -> bytes:
    """Hash JSON values to a key; the order of an object's fields does not matter."""
    text = json_text.dumps(_sorted(list(parts)))
    return hashlib.blake2b(text, digest_size=_KEY_BYTES, key=_KEY_VERSION).digest()


def _sorted(value: _Json) -> _Json:
    if isinstance(value, Mapping):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value


def insertion(call: Call) -> Statement:
    """Give what writes a call, unless one of its key is there."""
    return Statement(
        "INSERT INTO calls (key, purpose, model, base_url, request, reply, usage, cost, attempts, created_at, error,"
        " duration_ms) VALUES (:key, :purpose, :model, :base_url, :request, :reply, :usage, :cost, :attempts,"
        " :created_at, :error, :duration_ms)"
        " ON CONFLICT (key) DO NOTHING",
        [
            {
                "key": call.key,
                "purpose": call.purpose,
                "model": call.model,
                "base_url": call.base_url,
                "request": call.request.decode(),
                "reply": None if call.reply is None else call.reply.decode(),
                "usage": None if call.usage is None else call.usage.decode(),
                "cost": call.cost,
                "attempts": call.attempts,
                "created_at": _now(),
                "error": call.error,
                "duration_ms": call.duration_ms,
            }
        ],
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
