"""Vectors of texts without any model: what stands together in many texts comes to lie together.

Words, pairs of words and stretches of 3 to 5 characters (which forgive typing mistakes) are counted, less words like
"how" and "please", which would put "how do I …" of any topic together, weighed by how
rare they are (TF-IDF), and reduced to 200 dimensions by a truncated singular value decomposition. It is learned anew
from the texts of each build, so it knows every language that is written with blanks, and nothing of the world: two
wordings that share no words with each other, nor with a third, stay apart.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from processing.clusters.stop_words import STOP_WORDS

Vectors = NDArray[np.float32]
OFFLINE: Final = "offline"
_DIMENSIONS = 200
_FEATURES = 2**18
_MOST_FEATURES = 60_000
"""Of each kind, those in the most texts; the decomposition takes memory for each."""
_LEARNED_CHARACTERS = 8_000_000
"""Of the first texts, 100,000 of a usual length: more add no words that matter, only time and memory."""
_CHARACTERS_AT_ONCE = 2_000_000
_STRETCHED_CHARACTERS = 200
"""Stretches of characters are of the beginning: a long text has words enough to forgive a mistake in one."""
_WORDS = r"(?u)\b\w+\b"
_LEAST_DIMENSIONS = 2
_LEAST_TEXTS = 2
"""What stands in one text alone says nothing of others."""
_CHARACTER_WEIGHT = 0.7
"""Measured on twenty intents: 0.4 to 1 fare alike, without characters typing mistakes split groups."""


class _Counter:
    """Counts one kind of features and weighs them."""

    def __init__(self, weight: float, **options: Any) -> None:  # noqa: ANN401 - of scikit-learn
        self._weight = weight
        self._counter = HashingVectorizer(
            n_features=_FEATURES, alternate_sign=False, norm=None, dtype=np.float32, **options
        )
        self._tfidf = TfidfTransformer(sublinear_tf=True)
        self._kept = np.zeros(0, dtype=np.intp)

    def learn(self, texts: Sequence[str]) -> csr_matrix:
        counted = self._counter.transform(texts)
        held_by = np.bincount(counted.indices, minlength=_FEATURES)
        common = np.argsort(-held_by, kind="stable")[:_MOST_FEATURES]
        self._kept = np.sort(common[held_by[common] >= _LEAST_TEXTS])
        if not self._kept.size:
            return csr_matrix((len(texts), 0), dtype=np.float32)
        return self._tfidf.fit_transform(counted[:, self._kept]) * self._weight

    def weigh(self, texts: Sequence[str]) -> csr_matrix:
        if not self._kept.size:
            return csr_matrix((len(texts), 0), dtype=np.float32)
        return self._tfidf.transform(self._counter.transform(texts)[:, self._kept]) * self._weight


def offline_vectors(texts: Sequence[str], *, seed: int) -> Vectors:
    """Make a vector of length 1 of each text; of length 0 where it has nothing in common with any other.

    The same texts in the same order give the same vectors, whatever the number of cores.

    Args:
        texts: In an order that has nothing to do with what they say: the first of them are learned from.
        seed: Of the decomposition.
    """
    if not texts:
        return np.zeros((0, 1), dtype=np.float32)
    words = _Counter(1.0, ngram_range=(1, 2), token_pattern=_WORDS, stop_words=sorted(STOP_WORDS))
    characters = _Counter(_CHARACTER_WEIGHT, analyzer="char_wb", ngram_range=(3, 5))
    # Several threads would add up in an order of their own.
    with threadpool_limits(1):
        first, *others = _portions(texts)
        known = hstack([words.learn(first), characters.learn(_beginnings(first))], format="csr", dtype=np.float32)
        dimensions = min(_DIMENSIONS, min(known.shape) - 1)
        if dimensions < _LEAST_DIMENSIONS:
            return _few(known, len(texts))
        reduction = TruncatedSVD(dimensions, n_iter=4, random_state=seed)
        found = np.empty((len(texts), dimensions), dtype=np.float32)
        found[: len(first)] = reduction.fit_transform(known)
        del known
        start = len(first)
        for part in others:
            weighed = hstack([words.weigh(part), characters.weigh(_beginnings(part))], format="csr", dtype=np.float32)
            found[start : start + len(part)] = reduction.transform(weighed)
            start += len(part)
        unit: Vectors = normalize(found, copy=False)
        return unit


def _portions(texts: Sequence[str]) -> list[Sequence[str]]:
    """Cut the texts into what is learned from, and portions that fit into memory."""
    portions: list[Sequence[str]] = []
    start, characters = 0, 0
    for at, text in enumerate(texts):
        characters += len(text)
        if characters >= (_CHARACTERS_AT_ONCE if portions else _LEARNED_CHARACTERS):
            portions.append(texts[start : at + 1])
            start, characters = at + 1, 0
    return portions if start == len(texts) else [*portions, texts[start:]]


def _beginnings(texts: Sequence[str]) -> list[str]:
    return [text[:_STRETCHED_CHARACTERS] for text in texts]


def _few(known: csr_matrix, count: int) -> Vectors:
    """Vectors where so few texts, or so few words of several texts, are known that there is nothing to reduce."""
    found = np.zeros((count, max(known.shape[1], 1)), dtype=np.float32)
    found[: known.shape[0], : known.shape[1]] = known.toarray()
    unit: Vectors = normalize(found, copy=False)
    return unit
