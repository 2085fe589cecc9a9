"""Whose raw bytes are kept, and a trace made of them once more."""

from proxy.ingest.derive import derive
from proxy.journal.call_entries import read_call
from store.trace import Flag, Trace

_UNREAD = frozenset({Flag.REQUEST_NOT_JSON, Flag.REQUEST_TRUNCATED})


def may_be_kept(trace: Trace) -> bool:
    """Tell whether the bytes of a call may be kept beside its trace.

    No more is kept as bytes than as a trace: not of a call that is metadata only, and not of one whose request could
    not be read to its end, since it may have said so there (`"store": false`).
    """
    return trace.endpoint is not None and trace.flags.isdisjoint(_UNREAD)


def derive_again(kept: bytes, *, max_decoded_bytes: int) -> Trace:
    """Make a trace of a call's kept bytes, as today's version makes it.

    Args:
        kept: From `proxy.journal.call_entries.call_entries`.
        max_decoded_bytes: As of `derive`.

    Raises:
        ValueError: The bytes are no kept call.
    """
    return derive(read_call(kept), max_decoded_bytes=max_decoded_bytes)
