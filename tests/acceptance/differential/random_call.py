"""What random calls are made of: what a client sends, what the upstream answers, and where either is cut."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.acceptance.differential.case import head
from tests.raw_upstream import Step
from tests.upstream import STREAM_END, Hangup, Pause, Reset, framed

_CONTENT = st.binary(max_size=2000)
_CUTS = st.lists(st.integers(0, 2200), max_size=4).map(sorted)
_FRAMINGS = st.sampled_from(["sized", "chunked", "close"])


@dataclass(frozen=True)
class Reply:
    """What the upstream answers.

    Attributes:
        cuts: Where its bytes are cut into writes.
        ends_at: Where it breaks off, counted from behind the head; None for a whole answer. Negative is in the head.
        fault: How it breaks off.
        is_last: Whether it closes a connection that it never said it would close.
    """

    status: int
    framing: str
    content: bytes
    cuts: list[int]
    ends_at: int | None
    fault: Hangup | Reset
    is_last: bool

    @property
    def head(self) -> bytes:
        fields = {"sized": [b"Content-Length: %d" % len(self.content)], "chunked": [b"Transfer-Encoding: chunked"]}
        return head(b"%d Words" % self.status, b"X-A: 1", *fields.get(self.framing, []))

    @property
    def wire(self) -> bytes:
        if self.framing != "chunked":
            return self.content
        blocks = [self.content[at : at + 300] for at in range(0, len(self.content), 300)]
        return b"".join(framed(block) for block in blocks) + STREAM_END

    @property
    def end(self) -> int:
        """How many of its bytes are sent."""
        whole = len(self.head) + len(self.wire)
        return whole if self.ends_at is None else max(0, min(len(self.head) + self.ends_at, whole - 1))

    @property
    def is_whole(self) -> bool:
        if self.ends_at is None:
            return True
        # A close-delimited body is whole wherever it is closed, and cut only by a reset.
        return self.end >= len(self.head) and self.framing == "close" and isinstance(self.fault, Hangup)

    @property
    def leaves_stale(self) -> bool:
        """Whether it closes a connection that a client may think is kept."""
        return self.is_last or self.framing == "close" or not self.is_whole

    def steps(self, pause: Pause | None = None, place: int = 0) -> list[Step]:
        """Return what the upstream does; the pause comes before its last bytes, so that the answer is not over yet."""
        steps: list[Step] = list(pieces_of((self.head + self.wire)[: self.end], self.cuts))
        if pause is not None:
            steps.insert(place % max(len(steps), 1), pause)
        if self.ends_at is not None:
            steps.append(self.fault)
        elif self.framing == "close" or self.is_last:
            steps.append(Hangup())
        return steps

    def outcomes(self) -> set[str]:
        if not self.is_whole:
            return {"upstream_aborted"}
        return {"upstream_error"} if self.status >= 400 else {"completed"}


REPLIES = st.builds(
    Reply,
    status=st.sampled_from([200, 200, 200, 201, 404, 429, 500]),
    framing=_FRAMINGS,
    content=_CONTENT,
    cuts=_CUTS,
    ends_at=st.none() | st.none() | st.integers(-60, 2000),
    fault=st.sampled_from([Hangup(), Reset()]),
    is_last=st.booleans(),
)


@dataclass(frozen=True)
class Ask:
    """What the client sends."""

    is_chunked: bool
    content: bytes
    cuts: list[int]

    def wire(self, plan: str, session: str) -> bytes:
        framing = "Transfer-Encoding: chunked" if self.is_chunked else f"Content-Length: {len(self.content)}"
        lines = ["POST /v1/chat/completions HTTP/1.1", "Host: h", f"X-Plan: {plan}", f"X-Tracemill-Session: {session}"]
        body = (framed(self.content) if self.content else b"") + STREAM_END if self.is_chunked else self.content
        return "\r\n".join([*lines, framing, "", ""]).encode() + body


ASKS = st.builds(Ask, is_chunked=st.booleans(), content=_CONTENT, cuts=_CUTS)


def pieces_of(wire: bytes, cuts: list[int]) -> Iterator[bytes]:
    borders = [0, *(cut for cut in cuts if cut < len(wire)), len(wire)]
    return (wire[at:end] for at, end in itertools.pairwise(borders) if at < end)
