"""Groups vectors: many small groups first, then those that are near each other become one.

1. Mini-batch k-means on the unit sphere makes about 2·√n small groups, at most 200 (more where more clusters are asked
   for): more than there are intents, so that few groups mix two.
2. The two nearest groups become one, again and again; near is the mean similarity of their members, pair by pair
   (average linkage). How near unrelated groups are is not known beforehand, since every embedding has its own scale,
   but most pairs of small groups *are* unrelated: their median similarity, and the spread below it, tell. Merging ends
   where no two groups are nearer than seven spreads above the median, or than a third of the way from the median to
   the similarity within small groups where the spread is that wide. With a given number of clusters it ends there
   instead.
3. A text that is no nearer than that to its own small group is *far*: it is in no cluster.

All of it depends on the vectors, their order and the seed alone: k-means is fed in the order of the vectors, in one
thread. So whoever sorts the texts gets the same groups whatever order the traces came in.
"""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from processing.clusters.offline_vectors import Vectors

_MOST_GROUPS = 200
_GROUPS_A_CLUSTER = 3
_FEW = 12
"""Of so few vectors each is a group, and so few groups tell nothing of what is unrelated."""
_SPREADS = 7.0
"""Measured on twenty intents: 6 to 8 find nearly the same clusters, with 5 more of them mix two."""
_MOST_OF_THE_WAY = 1 / 3
"""Vectors of a model lie in all directions: pairs of unrelated ones spread widely, and evenly to both sides."""
_NEAR_OF_FEW = 0.15
_BATCH = 4096
_AT_ONCE = 20_000

Numbers = NDArray[np.int64]


class Grouping(NamedTuple):
    """Where each vector belongs.

    Attributes:
        groups: Number of the group of each vector, from 0; -1 for one that is far from all.
        similarity: Of each vector to the middle of its group, in [-1, 1].
        near: From which mean similarity on two groups were one.
        small_groups: How many there were before merging.
    """

    groups: Numbers
    similarity: NDArray[np.float32]
    near: float
    small_groups: int


def group(vectors: Vectors, weights: NDArray[np.float32], *, clusters: int | None, seed: int) -> Grouping:
    """Group vectors.

    Args:
        vectors: One a row, each of length 1 or less.
        weights: How much each counts.
        clusters: How many groups to make; None to find out.
        seed: Of the beginning of k-means.
    """
    if not len(vectors):
        return Grouping(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32), _NEAR_OF_FEW, 0)
    with threadpool_limits(1):
        small = _small_groups(vectors, weights, clusters, seed)
        count = int(small.max()) + 1
        means, sizes = _means(vectors, weights, small, count)
        near = _near(means, sizes)
        is_far = np.einsum("ij,ij->i", vectors, means[small]) < near
        merged = _merge(means, sizes, near, clusters)
        groups = merged[small]
        middles, _ = _means(vectors, weights, groups, int(merged.max()) + 1)
        lengths = np.linalg.norm(middles, axis=1, keepdims=True)
        middles /= np.where(lengths > 0, lengths, 1)
        similarity = np.einsum("ij,ij->i", vectors, middles[groups]).astype(np.float32)
    groups[is_far] = -1
    return Grouping(groups, similarity, near, count)


def _small_groups(vectors: Vectors, weights: NDArray[np.float32], clusters: int | None, seed: int) -> Numbers:
    count = len(vectors)
    wanted = min(_MOST_GROUPS, round(2 * count**0.5))
    wanted = min(max(wanted, _GROUPS_A_CLUSTER * (clusters or 0)), count)
    if count <= _FEW:
        return np.arange(count, dtype=np.int64)
    means = MiniBatchKMeans(wanted, batch_size=_BATCH, n_init=3, max_iter=50, random_state=seed)
    with warnings.catch_warnings():
        # Fewer different vectors than groups: those that are left over stay empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        means.fit(vectors, sample_weight=weights)
    found = np.empty(count, dtype=np.int64)
    for start in range(0, count, _AT_ONCE):
        found[start : start + _AT_ONCE] = means.predict(vectors[start : start + _AT_ONCE])
    # Numbered by their first vector, without gaps.
    used, firsts, numbers = np.unique(found, return_index=True, return_inverse=True)
    order = np.empty(len(used), dtype=np.int64)
    order[np.argsort(firsts)] = np.arange(len(used))
    return order[numbers]


def _means(
    vectors: Vectors, weights: NDArray[np.float32], groups: Numbers, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weighted mean of each group and its weight."""
    sums = np.zeros((count, vectors.shape[1]), dtype=np.float64)
    for start in range(0, len(vectors), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        np.add.at(sums, groups[part], vectors[part] * weights[part, None])
    sizes = np.bincount(groups, weights=weights, minlength=count).astype(np.float64)
    return sums / np.maximum(sizes, 1e-12)[:, None], sizes


def _near(means: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    """From which similarity on two groups are related."""
    count = len(means)
    if count <= _FEW:
        return _NEAR_OF_FEW
    pairs = (means @ means.T)[np.triu_indices(count, 1)]
    middle = float(np.median(pairs))
    below = pairs[pairs <= middle] - middle
    spread = float(np.sqrt(np.mean(below**2)))
    within = float(np.average(np.einsum("ij,ij->i", means, means), weights=sizes))
    return middle + min(_SPREADS * spread, _MOST_OF_THE_WAY * max(within - middle, 0.0))


def _merge(means: NDArray[np.float64], sizes: NDArray[np.float64], near: float, clusters: int | None) -> Numbers:
    """Give each small group the number of the group that it ends in."""
    means, sizes = means.copy(), sizes.copy()
    target = np.arange(len(means), dtype=np.int64)
    similarity = means @ means.T
    np.fill_diagonal(similarity, -np.inf)
    left = len(means)
    while left > (clusters or 1):
        one, other = sorted(divmod(int(similarity.argmax()), len(means)))
        if clusters is None and similarity[one, other] < near:
            break
        total = sizes[one] + sizes[other]
        means[one] = (means[one] * sizes[one] + means[other] * sizes[other]) / total
        sizes[one] = total
        target[target == other] = one
        similarity[one] = similarity[:, one] = means @ means[one]
        similarity[one, one] = -np.inf
        gone = np.setdiff1d(np.arange(len(means)), target)
        similarity[gone] = -np.inf
        similarity[:, gone] = -np.inf
        left -= 1
    _, numbers = np.unique(target, return_inverse=True)
    return numbers.astype(np.int64)
