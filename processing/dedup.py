"""Duplicates: which examples say the same, and which conversations are too alike to stand on both sides of a split.

*Exact* duplicates have the same content when ids and white space are left aside; the first in order is kept.

*Near* duplicates are found by the words of the user alone (`processing.near_text`), among conversations with the same
system prompt and tools. They are not dropped: they form groups, and a group never parts.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, TypeVar

from processing.disjoint_sets import DisjointSets
from processing.example import Conversation
from processing.near_text import TextDocument, near_pairs
from store.recorded.message import Json, Message, ToolCall
from store.recorded.message_form import text_of

_SYSTEM_ROLES = frozenset({"system", "developer"})
_DIGITS = re.compile(r"\d+")


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
    union: DisjointSets[str] = DisjointSets()
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
