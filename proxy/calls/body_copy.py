"""What is kept of a body while it passes: bounded for each body, for each part of it, and over all calls."""

from collections.abc import Callable
from dataclasses import dataclass

_SPILL_BYTES = 256 * 1024
"""A captured body goes to the journal in parts of about this size, so that a call holds no more than that in memory."""

_SMALL_SPILL_BYTES = 16 * 1024
"""The same once half of what all copies may hold is held: 4,096 calls, the default's most, hold 64 MiB of such parts,
so that hardly ever a single block has to go to the journal as an entry of its own."""

_MAX_BLOCKS = 256
"""More blocks than that are joined: as an object of its own, one of two bytes takes twenty times as many."""

DEFAULT_HELD_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class HeldBytes:
    """What all the copies of a worker hold together, on their way to the journal.

    Attributes:
        most: Past it a copy that grows goes to the journal at once, however short the part is.
    """

    most: int
    total: int = 0


class BodyCopy:
    """A bounded copy of one body, on its way to the journal in parts.

    Attributes:
        size: Bytes that came, kept or not.
        is_truncated: Whether some were not kept.
    """

    def __init__(
        self, limit: int | None, all_held: HeldBytes, spill: Callable[[bytes], bool], on_cut: Callable[[], None]
    ) -> None:
        """Hold nothing yet.

        Args:
            limit: Most that is kept; None to keep nothing and only count.
            all_held: What the copies of all calls hold together.
            spill: Takes a part to the journal; tells whether there was room.
            on_cut: Told when the body turns out larger than the limit.
        """
        self._room = limit or 0
        self._is_on = limit is not None
        self._all_held = all_held
        self._spill_part = spill
        self._on_cut = on_cut
        self._blocks: list[bytes] = []
        self._held = 0
        self.size = 0
        self.is_truncated = False

    def cut(self, block: bytes) -> bytes:
        """Count a block and return what of it there is room for."""
        self.size += len(block)
        if not self._is_on:
            return b""
        if len(block) > self._room:
            if not self.is_truncated:
                self._on_cut()
            self.is_truncated = True
            block = block[: self._room]
        self._room -= len(block)
        return block

    def add(self, block: bytes) -> None:
        """Count a block and keep what there is room for."""
        kept = self.cut(block)
        if not kept:
            return
        self._blocks.append(kept)
        if len(self._blocks) > _MAX_BLOCKS:
            self._blocks = [b"".join(self._blocks)]
        self._held += len(kept)
        everywhere = self._all_held
        everywhere.total += len(kept)
        part = _SPILL_BYTES if everywhere.total * 2 <= everywhere.most else _SMALL_SPILL_BYTES
        if self._held >= part or everywhere.total > everywhere.most:
            self.spill()

    def take(self) -> bytes:
        """Return what is held and hold it no longer."""
        body = b"".join(self._blocks)
        self._blocks.clear()
        self._all_held.total -= self._held
        self._held = 0
        return body

    def stop(self) -> None:
        """Hold nothing any more, and keep nothing of what comes; what comes is counted still."""
        self._is_on = False
        if self._held:
            self.take()
        # Both are the owner's own methods: kept, they would leave each call to the garbage collector.
        self._spill_part, self._on_cut = _find_no_room, _note_nothing

    def spill(self) -> None:
        """Send what is held to the journal; what finds no room there ends the copy."""
        part = self.take()
        if part and not self._spill_part(part):
            self.is_truncated = True
            self._room = 0


def _find_no_room(_part: bytes) -> bool:
    return False


def _note_nothing() -> None:
    """Count no more."""
