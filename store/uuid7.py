"""UUIDv7 (RFC 9562, section 5.7): ids that sort by the time they were made."""

import os
import time
from collections.abc import Callable
from uuid import UUID

_RANDOM_BYTES = 10
_IDS_A_DRAW = 128
"""Asking the kernel once for so many ids takes as long as asking for one."""

_last_ms = 0
_counter = 0
_random = b""
_drawn = 0


def uuid7(clock_ns: Callable[[], int] = time.time_ns) -> UUID:
    """Make a UUIDv7 whose order within this process is the order of the calls.

    The 12 bits after the timestamp are a counter (RFC 9562, 6.2, method 1) that starts at a random place each
    millisecond; if the clock steps back or the counter runs over, the last timestamp is kept and counted on, so ids
    never go backwards.
    """
    global _last_ms, _counter
    now_ms = clock_ns() // 1_000_000
    random_bits = _draw()
    if now_ms > _last_ms:
        _last_ms = now_ms
        _counter = random_bits >> 69  # 11 random bits: room for 2,048 more ids in this millisecond
    else:
        _counter += 1
        if _counter > 0xFFF:
            _last_ms += 1
            _counter = 0
    value = _last_ms << 80 | 0x7 << 76 | _counter << 64 | 0b10 << 62 | random_bits & (1 << 62) - 1
    return UUID(int=value)


def _draw() -> int:
    """Return 80 random bits."""
    global _random, _drawn
    if _drawn >= len(_random):
        _random = os.urandom(_RANDOM_BYTES * _IDS_A_DRAW)
        _drawn = 0
    bits = _random[_drawn : _drawn + _RANDOM_BYTES]
    _drawn += _RANDOM_BYTES
    return int.from_bytes(bits)


def _forget_random() -> None:
    """Keep a forked process from drawing the same bits as its parent."""
    global _random
    _random = b""


os.register_at_fork(after_in_child=_forget_random)
