"""Ids that stay: which cluster of a new build is which of the build before."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import numpy as np
from scipy.optimize import linear_sum_assignment

LEAST_OVERLAP = 1 / 3
"""Of the traces that either of the two has, counting those that both builds grouped."""


class Matched(NamedTuple):
    """What became of the clusters of the build before.

    Attributes:
        ids: Id of each new cluster, in its order.
        kept: Ids that both builds have.
        new: Ids given now.
        retired: Ids that no cluster has any more.
        moved: Traces of both builds that are in another cluster now, or in one where they were in none, or in none.
    """

    ids: tuple[int, ...]
    kept: tuple[int, ...]
    new: tuple[int, ...]
    retired: tuple[int, ...]
    moved: int


def match(before: Mapping[UUID, int | None], now: Mapping[UUID, int | None], clusters: int, next_id: int) -> Matched:
    """Give each new cluster the id of the old one whose traces it has, at most one each, so that most traces stay.

    Only traces that both builds looked at count: what came in since, or was not selected, changes no id.

    Args:
        before: Id of the cluster of each trace; None for one that was in none.
        now: Number of the new cluster, from 0; None likewise.
        clusters: How many new clusters there are.
        next_id: First id that was never given.
    """
    both = [(id_, old, now[id_]) for id_, old in before.items() if id_ in now]
    old_ids = sorted({old for old in before.values() if old is not None})
    ids = _assigned([(old, new) for _, old, new in both], old_ids, clusters)
    given = iter(range(next_id, next_id + clusters))
    found = tuple(ids[number] if number in ids else next(given) for number in range(clusters))
    kept = tuple(sorted(ids.values()))
    moved = sum(old != (None if new is None else found[new]) for _, old, new in both)
    return Matched(
        ids=found,
        kept=kept,
        new=tuple(sorted(set(found) - set(kept))),
        retired=tuple(id_ for id_ in old_ids if id_ not in kept),
        moved=moved,
    )


def _assigned(pairs: Sequence[tuple[int | None, int | None]], old_ids: Sequence[int], clusters: int) -> dict[int, int]:
    """Old id by number of the new cluster, for the assignment with the largest overlap in all."""
    shared = Counter((old, new) for old, new in pairs if old is not None and new is not None)
    if not shared:
        return {}
    of_old = Counter(old for old, _ in pairs)
    of_new = Counter(new for _, new in pairs)
    place = {old: at for at, old in enumerate(old_ids)}
    overlap = np.zeros((len(old_ids), clusters))
    for (old, new), count in shared.items():
        share = count / (of_old[old] + of_new[new] - count)
        if share >= LEAST_OVERLAP:
            # By traces, so that large clusters keep their ids; below the bound a pair is worth nothing.
            overlap[place[old], new] = count
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    return {int(new): old_ids[int(row)] for row, new in zip(rows, columns, strict=True) if overlap[row, new] > 0}
