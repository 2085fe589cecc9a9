"""Words that tell a cluster from the others, and a name made of them: what a cluster has without any model.

A term is a word or two in a row, without words that say nothing of a topic. It counts once a text. Its score is the
share of the cluster's texts that have it, times the logarithm of how much larger that is than outside: so it has to be
common within and rare without. A pair is taken in place of its words where most texts with the word have the pair.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from processing.clusters.stop_words import STOP_WORDS
from store.clusters.cluster import Term

TERMS = 12
_NAMED = 3
_TEXTS = 1_000
"""Of each cluster; more change no term that is in its name."""
_LEAST_SHARE = 0.05
_PAIR_SHARE = 0.6
_MOST_CHARS = 40
_WORD = re.compile(r"[^\W_]+(?:['\u2019_.+#-]?[^\W_]+|[+#]+)*")
_OUTSIDE = 0.5
"""Stands for the texts outside that have a term where none has it."""


class TermText(NamedTuple):
    """A text of a cluster, with how many traces begin so."""

    text: str
    traces: int


class _Counted(NamedTuple):
    """What a cluster's texts hold.

    Attributes:
        texts: How many were read.
        holding: Texts that have a term.
        spellings: As it was written, by term.
    """

    texts: int
    holding: Counter[str]
    spellings: Mapping[str, Counter[str]]


def terms_of(clusters: Sequence[Sequence[TermText]]) -> list[list[Term]]:
    """Find the terms of each cluster, the most telling first; the named ones make a name of its own.

    Args:
        clusters: The different texts of each, in an order that has nothing to do with what they say.
    """
    counted = [_count(texts[:_TEXTS]) for texts in clusters]
    holding: Counter[str] = Counter()
    for each in counted:
        holding.update(each.holding)
    texts = sum(each.texts for each in counted)
    found = [_terms(each, holding, texts) for each in counted]
    counted_in_full = [_with_members(terms, said) for terms, said in zip(found, clusters, strict=True)]
    return _with_names(counted_in_full)


def _count(texts: Sequence[TermText]) -> _Counted:
    holding: Counter[str] = Counter()
    spellings: dict[str, Counter[str]] = {}
    for said in texts:
        seen = _seen(said.text)
        holding.update(seen.keys())
        for term, spelling in seen.items():
            spellings.setdefault(term, Counter())[spelling] += 1
    return _Counted(len(texts), holding, spellings)


def _seen(text: str) -> dict[str, str]:
    """The terms of a text, each with how it is written there first."""
    seen: dict[str, str] = {}
    telling = [word if _is_telling(word.lower()) else None for word in _WORD.findall(text)]
    for one, other in pairwise([*telling, None]):
        if one is not None:
            seen.setdefault(one.lower(), one)
            if other is not None and other.lower() != one.lower():
                seen.setdefault(f"{one} {other}".lower(), f"{one} {other}")
    return seen


def _with_members(terms: Sequence[str], texts: Sequence[TermText]) -> list[Term]:
    """Count the traces that have each term, of all texts."""
    members: Counter[str] = Counter()
    wanted = {term.lower() for term in terms}
    for said in texts:
        for term in wanted & _seen(said.text).keys():
            members[term] += said.traces
    return [Term(term, members[term.lower()]) for term in terms]


def _is_telling(word: str) -> bool:
    return word not in STOP_WORDS and not word[0].isdigit() and 1 < len(word) <= _MOST_CHARS


def _terms(counted: _Counted, holding: Counter[str], texts: int) -> list[str]:
    least = max(2 if counted.texts > 2 else 1, _LEAST_SHARE * counted.texts)
    outside = max(texts - counted.texts, 1)
    scores: dict[str, float] = {}
    for term, count in counted.holding.items():
        if count >= least:
            share = count / counted.texts
            other = max(holding[term] - count, _OUTSIDE) / outside
            scores[term] = share * max(math.log(share / other), 0.01)
    chosen: list[str] = []
    for term in sorted(scores, key=lambda term: (-_score(term, scores, counted), term)):
        if not any(set(term.split()) & set(other.split()) for other in chosen):
            chosen.append(term)
        if len(chosen) == TERMS:
            break
    return [_spelling(counted.spellings[term]) for term in chosen]


def _score(term: str, scores: Mapping[str, float], counted: _Counted) -> float:
    """A pair that most texts with one of its words have stands before both words."""
    words = term.split()
    if len(words) == 1:
        return scores[term]
    single = [word for word in words if word in scores and counted.holding[word]]
    stands_for = [word for word in single if counted.holding[term] >= _PAIR_SHARE * counted.holding[word]]
    return max([scores[term], *(scores[word] * 1.01 for word in stands_for)])


def _spelling(spellings: Counter[str]) -> str:
    return min(spellings, key=lambda spelling: (-spellings[spelling], spelling))


def _with_names(clusters: Sequence[Sequence[Term]]) -> list[list[Term]]:
    """Take the first terms as the name; where two clusters would be called alike, more of the later one's."""
    taken: set[tuple[str, ...]] = set()
    named: list[list[Term]] = []
    for terms in clusters:
        length = min(_NAMED, len(terms))
        while length < len(terms) and tuple(term.text for term in terms[:length]) in taken:
            length += 1
        taken.add(tuple(term.text for term in terms[:length]))
        named.append([term._replace(is_named=at < length) for at, term in enumerate(terms)])
    return named
