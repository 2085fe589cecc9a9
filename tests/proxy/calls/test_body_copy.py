"""What is kept of a body while it passes takes about the memory that is counted for it."""

import tracemalloc

from proxy.calls.body_copy import BodyCopy, HeldBytes

KEPT = 200_000


def test_a_body_in_tiny_blocks_takes_little_more_memory_than_one_in_large_blocks() -> None:
    """A block of two bytes takes twenty times as much as an object: the bound on memory would be none."""
    body = bytes(range(200)) * (KEPT // 200)
    copy = BodyCopy(KEPT, HeldBytes(1 << 26), lambda _part: True, lambda: None)
    tracemalloc.start()
    try:
        for place in range(0, KEPT, 2):
            copy.add(body[place : place + 2])
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < KEPT * 1.2
    assert copy.take() == body
