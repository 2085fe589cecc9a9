"""Near duplicates of texts: pairs whose character shingles overlap by enough (Jaccard).

The 5-character shingles of two near duplicates overlap by at least 0.8. Candidates come from one-permutation MinHash
(64 bins, 16 bands of 4) and every pair is verified exactly, so the hash can miss a pair but never makes one up. What
all texts of a scope share at both ends is a template and is left out first, else everything would be alike.
"""

from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import eq
from typing import NamedTuple
from zlib import crc32

from processing.disjoint_sets import DisjointSets

SIMILARITY = 0.8
SHINGLE = 5
_BINS = 64
_BAND_ROWS = 4
_EMPTY = 1 << 32
"""Above every hash: what a bin holds that no shingle fell into."""
_TEMPLATE_TEXTS = 20
"""Fewer distinct texts than this cannot tell a shared template from likeness."""
_TEMPLATE_CHARACTERS = 20
_LONG_CHARACTERS = 500
"""From here on every bin holds a hash of its own, so that the equal ones estimate the overlap."""
_LEAST_EQUAL_BINS = 32
"""At an overlap of 0.8 fewer of 64 bins are equal in one of fifty million pairs (binomial)."""
_BUCKET_LEADERS = 64
"""At most so many comparisons per text and band; keeps the work linear when thousands are half alike."""


class TextDocument(NamedTuple):
    """One text to compare.

    Attributes:
        owner: Whatever the text stands for; texts of one owner are not compared.
        scope: Only texts of one scope are compared: the system prompt and the tools.
        text: The user's words, normalised.
    """

    owner: str
    scope: str
    text: str


def near_pairs(documents: Iterable[TextDocument], *, bound: float = SIMILARITY) -> list[tuple[str, str]]:
    """Find pairs of owners with near duplicate texts; enough pairs to join each group, not every pair of it.

    Args:
        documents: Of any order.
        bound: Overlap from which two texts are near duplicates; the hashes were made for 0.8, and miss more below it.
    """
    scopes = _by_scope(documents)
    pairs: list[tuple[str, str]] = []
    for _, texts in sorted(scopes.items()):
        pairs += [(owners[0], owner) for owners in texts.values() for owner in owners[1:] if owner != owners[0]]
        pairs += _alike(texts, bound)
    return pairs


def near_matches(documents: Iterable[TextDocument], others: Iterable[TextDocument]) -> dict[str, str]:
    """Find the documents whose text is a near duplicate of one of the others': owner → owner of that other one.

    Two documents, or two of the others, are never compared.
    """
    asked, known = _by_scope(documents), _by_scope(others)
    matches: dict[str, str] = {}
    for scope in sorted(asked.keys() & known.keys()):
        owners_of, others_of = asked[scope], known[scope]
        for text, other in _like(owners_of, others_of):
            matches.update((owner, min(others_of[other])) for owner in owners_of[text])
    return matches


def similarity(first: str, second: str) -> float:
    """Jaccard overlap of two texts' character shingles, in [0, 1]."""
    one, other = _shingles(first), _shingles(second)
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def _alike(owners_of: Mapping[str, Sequence[str]], bound: float) -> Iterator[tuple[str, str]]:
    """Pairs of owners with near duplicate texts; texts of one owner, or joined already, are not compared."""
    texts = sorted(owners_of)
    bare = _without_template(texts)
    union: DisjointSets[int] = DisjointSets()
    first_of: dict[str, int] = {}
    for number, text in enumerate(texts):
        for owner in owners_of[text]:
            union.join(first_of.setdefault(owner, number), number)
    signatures = list(_signatures(bare))
    # Band by band: the buckets of one are all that is held at a time.
    for band in range(0, _BINS, _BAND_ROWS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for number, signature in enumerate(signatures):
            leaders = buckets[signature[band : band + _BAND_ROWS].tobytes()]
            for leader in leaders:
                if union.find(leader) != union.find(number) and _are_alike(
                    bare[leader], signatures[leader], bare[number], signature, bound
                ):
                    union.join(leader, number)
                    yield owners_of[texts[leader]][0], owners_of[texts[number]][0]
            if len(leaders) < _BUCKET_LEADERS:
                leaders.append(number)


def _like(texts: Collection[str], others: Collection[str]) -> Iterator[tuple[str, str]]:
    """Pairs of a text and one of the others that it equals or nearly equals; one pair for each such text."""
    every = sorted({*texts, *others})
    bare = _without_template(every)
    signatures = list(_signatures(bare))
    known = [number for number, text in enumerate(every) if text in others]
    left = {number for number, text in enumerate(every) if text in texts}
    for number in sorted(left.intersection(known)):
        yield every[number], every[number]
    left.difference_update(known)
    for band in range(0, _BINS, _BAND_ROWS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for number in known:
            leaders = buckets[signatures[number][band : band + _BAND_ROWS].tobytes()]
            if len(leaders) < _BUCKET_LEADERS:
                leaders.append(number)
        for number in sorted(left):
            for leader in buckets.get(signatures[number][band : band + _BAND_ROWS].tobytes(), ()):
                if _are_alike(bare[leader], signatures[leader], bare[number], signatures[number]):
                    left.remove(number)
                    yield every[number], every[leader]
                    break


def _are_alike(
    one: str, one_signature: Sequence[int], other: str, other_signature: Sequence[int], bound: float = SIMILARITY
) -> bool:
    """Compare exactly, once the hashes leave a chance: the exact comparison costs far more."""
    may_be = len(other) < _LONG_CHARACTERS or bound < SIMILARITY or _may_be_alike(one_signature, other_signature)
    return may_be and similarity(one, other) >= bound


def _by_scope(documents: Iterable[TextDocument]) -> dict[str, dict[str, list[str]]]:
    """Owners by scope and text; a document without text is like no other."""
    scopes: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for document in documents:
        if document.text:
            scopes[document.scope][document.text].append(document.owner)
    return scopes


def _without_template(texts: Sequence[str]) -> list[str]:
    if len(texts) < _TEMPLATE_TEXTS:
        return list(texts)
    start = _whole_words(_shared_start(texts))
    end = _whole_words(_shared_start([text[start:][::-1] for text in texts]))
    return [text[start : len(text) - end] for text in texts]


def _shared_start(texts: Sequence[str]) -> str:
    """The characters that all texts begin with: those that the first and the last in order share."""
    first, last = min(texts), max(texts)
    length = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[:length]


def _whole_words(shared: str) -> int:
    """Length of the shared text up to its last word border; 0 when it is too short to be a template."""
    length = shared.rfind(" ") + 1
    return length if length >= _TEMPLATE_CHARACTERS else 0


def _signatures(texts: Iterable[str]) -> Iterator["array[int]"]:
    """One-permutation MinHash of each text; one that goes on from the text before it is hashed from there on.

    The turns of a conversation do, and stand one after the other when texts are in order.
    """
    begun: list[tuple[str, list[int]]] = []
    for text in texts:
        while begun and not text.startswith(begun[-1][0]):
            begun.pop()
        before, bins = begun[-1] if begun else ("", [_EMPTY] * _BINS)
        bins = _with_shingles(bins, text[max(len(before) - SHINGLE + 1, 0) :])
        if len(text) >= SHINGLE:
            begun.append((text, bins))
        yield array("Q", bins if _EMPTY not in bins else _filled(bins))


def _with_shingles(bins: Sequence[int], text: str) -> list[int]:
    """Add a text's shingles: the low bits of a hash choose the bin, and the bin keeps the smallest."""
    lowest = list(bins)
    # Four bytes a character, so that slices of bytes are slices of characters; which is twice as fast.
    data = text.encode("utf-32-le", "surrogatepass")
    ends = range(4 * SHINGLE, max(len(data), 4 * SHINGLE) + 1, 4)
    for value in {crc32(data[end - 4 * SHINGLE : end]) for end in ends}:
        number = value % _BINS
        if value < lowest[number]:
            lowest[number] = value
    return lowest


def _may_be_alike(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether enough bins are equal for two long texts to be alike."""
    equal: int = sum(map(eq, one, other))
    return equal >= _LEAST_EQUAL_BINS


def _filled(bins: Sequence[int]) -> tuple[int, ...]:
    """Let an empty bin borrow from the next full one; the distance is mixed in, so that borrowing makes no match."""
    filled = list(bins)
    borrowed, distance = 0, 0
    for step in reversed(range(2 * _BINS)):
        number = step % _BINS
        if bins[number] != _EMPTY:
            borrowed, distance = bins[number], 0
        else:
            distance += 1
            filled[number] = borrowed + (distance << 32)
    return tuple(filled)


@lru_cache(maxsize=4096)
def _shingles(text: str) -> frozenset[str]:
    return frozenset(text[start : start + SHINGLE] for start in range(max(1, len(text) - SHINGLE + 1)))
