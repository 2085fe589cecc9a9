"""Histograms of durations that can be added, taken apart again, and asked for percentiles.

Each bucket is a factor of e^(1/16) wide, so a percentile is told to 3.2 % at any scale; empty buckets take no room.
"""

import struct
from collections.abc import Mapping
from math import ceil, exp, log

_BUCKETS_PER_E = 16
_LOWEST, _HIGHEST = -200, 400
"""From 4 µs to two years; what is outside counts as just inside."""
_PAIR = struct.Struct("<hI")
_MOST = 2**32 - 1

Histogram = dict[int, int]
"""Counts by bucket; none of them 0."""


def bucket_of(ms: float) -> int:
    """Give the bucket of a duration in milliseconds."""
    if ms <= 0:
        return _LOWEST
    place = log(ms) * _BUCKETS_PER_E
    if not place < _HIGHEST:
        return _HIGHEST
    return max(int(place // 1), _LOWEST)


def percentile(histogram: Mapping[int, int], share: float) -> float | None:
    """Give the duration in milliseconds that a share of all do not exceed, to 3.2 %; None when there are none."""
    wanted = ceil(share * sum(histogram.values()))
    passed = 0
    for bucket in sorted(histogram):
        passed += histogram[bucket]
        if passed >= wanted:
            return float(f"{exp((bucket + 0.5) / _BUCKETS_PER_E):.3g}")
    return None


def add_to(histogram: Histogram, other: Mapping[int, int], sign: int = 1) -> None:
    """Add another histogram, or take it away by a sign of -1."""
    for bucket, count in other.items():
        left = histogram.get(bucket, 0) + sign * count
        if left:
            histogram[bucket] = left
        else:
            histogram.pop(bucket, None)


def pack_histogram(histogram: Mapping[int, int]) -> bytes:
    """Write a histogram; the same counts give the same bytes."""
    return b"".join([_PAIR.pack(bucket, min(max(n, 0), _MOST)) for bucket, n in sorted(histogram.items()) if n > 0])


def unpack_histogram(packed: bytes) -> Histogram:
    """Undo `pack_histogram`."""
    return dict(_PAIR.iter_unpack(packed))
