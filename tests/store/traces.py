"""Traces for tests: one made by hand, and a strategy for odd ones."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from store.json_text import dumps
from store.trace import Flag, Outcome, Reply, Trace

STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def make_trace(number: int, **fields: Any) -> Trace:
    """Make a plain trace; its number is its id, and its second unless `created_at` is given."""
    plain: dict[str, Any] = {
        "id": UUID(int=number),
        "created_at": STARTED_AT.replace(second=number % 60, minute=number // 60 % 60),
        "method": "POST",
        "path": "/v1/chat/completions",
        "route": "default",
        "upstream": "https://upstream.test/v1",
        "outcome": Outcome.COMPLETED,
        "endpoint": "chat.completions",
    }
    return Trace(**{**plain, **fields})


ODD_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
JSON_TEXTS = st.one_of(
    st.recursive(
        st.none() | st.booleans() | st.integers() | ODD_TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD_TEXT, inner, max_size=3),
        max_leaves=6,
    ).map(dumps),
    st.sampled_from([b"1e400", b"1.0", b"1E5", b'{"a":1,"a":2}', rb'"\u0000\ud800"', b"12345678901234567890123"]),
)
# Long strings are cut out of messages, so some are just around the bound, and some texts have several.
_LONG = st.integers(16 * 1024 - 2, 16 * 1024 + 2).map(lambda size: "x" * size) | st.just("\\\u2028é" * 9000)
MESSAGES = st.one_of(
    st.builds(lambda role, content: dumps({"role": role, "content": content}), ODD_TEXT, ODD_TEXT | st.none()),
    st.lists(_LONG | ODD_TEXT, max_size=3).map(lambda parts: dumps({"role": "user", "content": parts})),
    JSON_TEXTS,
)
_NAMES = ODD_TEXT | st.none()
_COUNTS = st.integers(0, 2**40) | st.none()
_TIMES = st.floats(0, 1e9) | st.none()
TRACES = st.builds(
    Trace,
    id=st.uuids(),
    created_at=st.datetimes(timezones=st.just(UTC)),
    method=ODD_TEXT,
    path=ODD_TEXT,
    route=ODD_TEXT,
    upstream=ODD_TEXT,
    outcome=st.sampled_from(Outcome),
    endpoint=st.sampled_from(["chat.completions", None]),
    status=st.integers(100, 599) | st.none(),
    is_streaming=st.booleans(),
    requested_model=_NAMES,
    served_model=_NAMES,
    messages=st.lists(MESSAGES, max_size=4).map(tuple),
    tools=JSON_TEXTS | st.none(),
    response_format=JSON_TEXTS | st.none(),
    parameters=JSON_TEXTS,
    replies=st.lists(
        st.builds(Reply, st.integers(0, 9), MESSAGES, _NAMES, JSON_TEXTS | st.none()),
        max_size=3,
    ).map(tuple),
    usage=JSON_TEXTS | st.none(),
    prompt_tokens=_COUNTS,
    completion_tokens=_COUNTS,
    ttft_ms=_TIMES,
    duration_ms=_TIMES,
    upstream_id=_NAMES,
    request_id=_NAMES,
    system_fingerprint=_NAMES,
    session=_NAMES,
    user=_NAMES,
    tags=st.dictionaries(ODD_TEXT, ODD_TEXT, max_size=3),
    metadata=JSON_TEXTS | st.none(),
    key_fingerprint=_NAMES,
    error=_NAMES,
    flags=st.frozensets(st.sampled_from(Flag), max_size=3),
    request_bytes=st.integers(0, 2**40),
    response_bytes=st.integers(0, 2**40),
)
