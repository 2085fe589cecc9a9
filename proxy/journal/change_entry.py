"""A change as an entry of the journal, there and back."""

from datetime import UTC, datetime

from proxy.journal.format import Entry, EntryKind, encode
from store.change import Change, ChangeKind


def encode_change(mark: bytes, change: Change) -> bytes:
    """Return the entry that asks for a change."""
    meta = {"kind": change.kind, "asked_at": change.asked_at.timestamp(), "by": change.asked_by}
    return encode(mark, EntryKind.CHANGE, change.id, meta, change.body)


def change_of(entry: Entry) -> Change:
    """Read what `encode_change` wrote.

    Raises:
        ValueError: It is of a kind that this version does not know.
    """
    try:
        kind = ChangeKind(entry.meta["kind"])
        asked_at = datetime.fromtimestamp(entry.meta["asked_at"], UTC)
        return Change(entry.trace_id, kind, asked_at, entry.meta.get("by"), bytes(entry.body))
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"the head of a change is none ({type(error).__name__})") from error
