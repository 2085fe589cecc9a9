"""The W3C trace context of a call: which distributed trace it belongs to, and which span made it.

Grammar and rules: https://www.w3.org/TR/trace-context/#traceparent-header. A field that breaks them is none.
"""

import re
from typing import NamedTuple, Self

_FIELD = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01


class TraceParent(NamedTuple):
    """What a `traceparent` field says.

    Attributes:
        trace_id: 32 hexadecimal digits: the id that the application's tracing tool shows.
        span_id: 16 hexadecimal digits: the client's own span around the call.
        flags: Two hexadecimal digits.
    """

    trace_id: str
    span_id: str
    flags: str

    @classmethod
    def parse(cls, value: str) -> Self | None:
        """Read a field's value; None when it is no trace context."""
        match = _FIELD.fullmatch(value.strip())
        if match is None:
            return None
        version, trace_id, span_id, flags, rest = match.groups()
        if version == "ff" or (version == "00" and rest) or not trace_id.strip("0") or not span_id.strip("0"):
            return None
        return cls(trace_id, span_id, flags)

    @property
    def is_sampled(self) -> bool:
        """Whether the client's own span is recorded."""
        return bool(int(self.flags, 16) & _SAMPLED)

    def __str__(self) -> str:
        """Give the field's value."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"
