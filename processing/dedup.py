"""Duplicates: which examples say the same, and which conversations are too alike to stand on both sides of a split.

*Exact* duplicates have the same content when ids and white space are left aside; the first in order is kept.

*Near* duplicates are found by the words of the user alone, among conversations with the same system prompt and tools:
the 5-character shingles of two texts overlap by at least 0.8 (Jaccard). Candidates come from one-permutation MinHash
(64 bins, 16 bands of 4) and every pair is verified exactly, so the hash can miss a pair but never makes one up. What
all texts of a system prompt share at both ends is a template and is left out first, else everything would be alike.
Near duplicates are not dropped: they form groups, and a group never parts.
"""

import json
import re
from array import array
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from operator import eq
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from zlib import crc32

from processing.example import Conversation
from store.recorded.message import Json, Message, ToolCall
from store.recorded.message_form import text_of

SIMILARITY = 0.8
SHINGLE = 5
_BINS = 64
_BAND_ROWS = 4
_EMPTY = 1 << 32
"""Above every hash: what a bin holds that no shingle fell into."""
_SYSTEM_ROLES = frozenset({"system", "developer"})
_DIGITS = re.compile(r"\d+")
_TEMPLATE_TEXTS = 20
"""Fewer distinct texts than this cannot tell a shared template from likeness."""
_TEMPLATE_CHARACTERS = 20
_LONG_CHARACTERS = 500
"""From here on every bin holds a hash of its own, so that the equal ones estimate the overlap."""
_LEAST_EQUAL_BINS = 32
"""At an overlap of 0.8 fewer of 64 bins are equal in one of fifty million pairs (binomial)."""
_BUCKET_LEADERS = 64
"""At most so many comparisons per text and band; keeps the work linear when thousands are half alike."""


class _Content(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def messages(self) -> tuple[Message, ...]: ...
    @property
    def tools(self) -> list[Json] | None: ...
    @property
    def response_format(self) -> Json | None: ...


C = TypeVar("C", bound=_Content)
K = TypeVar("K", bound=Hashable)


class Distinct(NamedTuple):
    """What is left without exact duplicates.

    Attributes:
        kept: The first of each content, in order.
        duplicate_of: Id of a dropped one → id of the one that was kept. Equal ids are not told apart.
        dropped: How many were dropped.
    """

    kept: tuple[Any, ...]
    duplicate_of: dict[str, str]
    dropped: int


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


def drop_exact(items: Iterable[C]) -> Distinct:
    """Keep the first of all that have the same content; order decides, so bring it into a stable one."""
    kept: dict[bytes, C] = {}
    duplicate_of: dict[str, str] = {}
    count = 0
    for item in items:
        count += 1
        first = kept.setdefault(content_key(item), item)
        if first is not item:
            duplicate_of[item.id] = first.id
    return Distinct(tuple(kept.values()), duplicate_of, count - len(kept))


def content_key(item: _Content) -> bytes:
    """Hash messages, tools and response format with ids, reasoning and white space left aside."""
    meaning = [[_meaning(message) for message in item.messages], item.tools, item.response_format]
    return _digest(meaning)


def prompt_key(messages: Sequence[Message], tools: list[Json] | None) -> bytes:
    """Hash what a model is asked: the messages before its reply and the tools, ids and white space left aside."""
    return _digest([[_meaning(message) for message in messages], tools])


def group_conversations(conversations: Iterable[Conversation], *, without_system: bool = False) -> dict[str, str]:
    """Name the group of each conversation: what must stay on one side of a split.

    Together are: conversations of one tree, conversations that open with the same words under the same system prompt,
    and near duplicates. A group is named after the smallest opening in it, so it keeps its name when conversations grow
    or are regenerated; only a newcomer that joins two groups can rename one of them.

    Args:
        conversations: Of any order.
        without_system: Leave system prompts aside, as is right when the examples are cut without them.
    """
    items = {item.id: item for item in conversations}
    spoken = {
        item.id: tuple(m for m in item.messages if not without_system or m.role not in _SYSTEM_ROLES)
        for item in items.values()
    }
    openings = {name: _digest([_meaning(m) for m in _opening(messages)]).hex() for name, messages in spoken.items()}
    union: _Union[str] = _Union()
    for name, item in items.items():
        union.join(f"id:{name}", f"tree:{item.tree}")
        union.join(f"id:{name}", f"opening:{openings[name]}")
    documents = (d for name, item in items.items() for d in _documents(name, spoken[name], item.tools))
    for first, second in near_pairs(documents):
        union.join(f"id:{first}", f"id:{second}")
    names: dict[str, str] = {}
    for name in items:
        root = union.find(f"id:{name}")
        names[root] = min(names.get(root, openings[name]), openings[name])
    return {name: names[union.find(f"id:{name}")] for name in items}


def prompt_document(owner: str, messages: Sequence[Message], tools: list[Json] | None) -> TextDocument:
    """Make the text by which a prompt is compared: all that the user said, in its system prompt's scope."""
    return TextDocument(owner, _scope(messages, tools), _said(messages))


def near_pairs(documents: Iterable[TextDocument]) -> list[tuple[str, str]]:
    """Find pairs of owners with near duplicate texts; enough pairs to join each group, not every pair of it."""
    scopes = _by_scope(documents)
    pairs: list[tuple[str, str]] = []
    for _, texts in sorted(scopes.items()):
        pairs += [(owners[0], owner) for owners in texts.values() for owner in owners[1:] if owner != owners[0]]
        pairs += _alike(texts)
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


def _documents(owner: str, messages: Sequence[Message], tools: list[Json] | None) -> Iterator[TextDocument]:
    """The prompt of each turn: any of them may be the whole of another conversation."""
    end = 0
    for position, message in enumerate(messages):
        if message.role == "user":
            # What a later system message says makes another scope, which is rare; else all turns share the first one.
            if not end or any(one.role in _SYSTEM_ROLES for one in messages[end:position]):
                scope = _scope(messages[:position], tools)
            end = position + 1
            yield TextDocument(owner, scope, _said(messages[:end]))


def _scope(messages: Sequence[Message], tools: list[Json] | None) -> str:
    system = tuple(text_of(message) for message in messages if message.role in _SYSTEM_ROLES)
    return _scope_of(system, None if tools is None else json.dumps(tools, sort_keys=True))


@lru_cache(maxsize=1024)
def _scope_of(system: tuple[str, ...], tools: str | None) -> str:
    return _digest([[_DIGITS.sub("0", _plain(text)) for text in system], tools]).hex()


def _said(messages: Sequence[Message]) -> str:
    said = (_plain(text_of(message)) for message in messages if message.role == "user")
    return " ".join(filter(None, said))


def _opening(messages: Sequence[Message]) -> Sequence[Message]:
    end = next((position for position, message in enumerate(messages) if message.role == "user"), len(messages) - 1)
    return messages[: end + 1]


def _alike(owners_of: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Pairs of owners with near duplicate texts; texts of one owner, or joined already, are not compared."""
    texts = sorted(owners_of)
    bare = _without_template(texts)
    union: _Union[int] = _Union()
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
                    bare[leader], signatures[leader], bare[number], signature
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


def _are_alike(one: str, one_signature: Sequence[int], other: str, other_signature: Sequence[int]) -> bool:
    """Compare exactly, once the hashes leave a chance: the exact comparison costs far more."""
    may_be = len(other) < _LONG_CHARACTERS or _may_be_alike(one_signature, other_signature)
    return may_be and similarity(one, other) >= SIMILARITY


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


@lru_cache(maxsize=65536)
def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _meaning(message: Message) -> list[Json]:
    content: Json = message.content
    if not isinstance(content, list) or all(isinstance(p, dict) and p.get("type") == "text" for p in content):
        content = " ".join(text_of(message).split())
    return [message.role, content or message.refusal or "", [_call_meaning(call) for call in message.tool_calls]]


def _call_meaning(call: ToolCall) -> list[Json]:
    try:
        return [call.name, json.loads(call.arguments)]
    except (ValueError, RecursionError):
        return [call.name, [call.arguments]]


def _digest(value: Json | Mapping[str, Json]) -> bytes:
    return blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).digest()


class _Union(Generic[K]):
    """Disjoint sets; a name that was never joined is a set of its own."""

    def __init__(self) -> None:
        self._parents: dict[K, K] = {}

    def find(self, name: K) -> K:
        root = name
        while (parent := self._parents.get(root, root)) != root:
            root = parent
        while name != root:
            self._parents[name], name = root, self._parents.get(name, root)
        return root

    def join(self, first: K, second: K) -> None:
        one, other = self.find(first), self.find(second)
        if one != other:
            self._parents[other] = one
