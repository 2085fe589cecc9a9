"""A raw call as lines for a terminal."""

from collections.abc import Iterator
from typing import Any

from proxy.journal.call_entries import read_call
from proxy.journal.raw_call_json import raw_call_json
from tracemill.terminal_text import many_lines, one_line


def raw_json(kept: bytes) -> dict[str, Any]:
    """Read the bytes of a raw call as JSON values."""
    return raw_call_json(read_call(kept))


def raw_lines(call: dict[str, Any]) -> Iterator[str]:
    """Give what the client sent and what came back, as `proxy.journal.raw_call_json` has it."""
    yield one_line(f"{call['method']} {call['path']}  → {call['upstream']} ({call['route']})")
    yield from _side(call["request"])
    yield ""
    status = call["status"] if call["status"] is not None else "no answer"
    yield one_line(f"{status}  {call['outcome']}" + (f"  {call['error']}" if call["error"] else ""))
    yield from _side(call["response"])


def _side(side: dict[str, Any]) -> Iterator[str]:
    for name, value in side["headers"]:
        yield one_line(f"{name}: {value}")
    notes = [f"{side['bytes']:,} bytes"]
    if side["is_truncated"]:
        notes.append("cut short")
    if side["body_encoding"] == "base64":
        notes.append("in base64, since it is no text")
    yield f"[{', '.join(notes)}]"
    if side["body"]:
        yield many_lines(side["body"])
