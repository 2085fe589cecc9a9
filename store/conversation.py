"""Stitching: conversations out of calls that each carry their whole history, and nothing that names them.

A call whose request extends an earlier call's request *and* reply is that call's child. Calls with children are inner
turns; calls without are leaves, and each leaf is one conversation: its own request holds the whole of it. A
regeneration or an edit is a fork: two leaves, two conversations, one *tree*. Only replies join calls into a tree, and a
full request sent again; a shared system prompt alone never does.
"""

from bisect import bisect_right
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Generic, TypeVar

from store.tree import ID_BYTES

H = TypeVar("H", bound=Hashable)


@dataclass(frozen=True, slots=True)
class CallKeys(Generic[H]):
    """What stitching needs to know of one call.

    Attributes:
        ref: The caller's own name for the call; unique.
        created_at: When the call was made; chooses among identical parents.
        prefix_keys: The stitch key of each request message, in order.
        reply_keys: The stitch key of each reply choice, as a message that follows the request.
        assistant_positions: Positions of the request's assistant messages, if known; only then can a conversation
            name the turns that no captured call produced.
    """

    ref: H
    created_at: datetime
    prefix_keys: tuple[bytes, ...]
    reply_keys: tuple[bytes, ...]
    assistant_positions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn(Generic[H]):
    """One assistant message inside the leaf's request.

    Attributes:
        position: Its place among the leaf's request messages, from 0.
        ref: The call that produced it; None when that call was not captured.
        choice: Which of that call's replies it is; None with `ref`.
    """

    position: int
    ref: H | None
    choice: int | None


@dataclass(frozen=True, slots=True)
class Conversation(Generic[H]):
    """One leaf call with all that led to it.

    Attributes:
        ref: The leaf: its request and reply hold the whole conversation.
        turns: The assistant messages of the leaf's request, by position; the leaf's own reply is not among them.
        members: The calls on the path, first call first, the leaf last.
        tree: Names the connected component: the key of its root's whole request. It stays the same when later calls
            join, so it can decide a split.
    """

    ref: H
    turns: tuple[Turn[H], ...]
    members: tuple[H, ...]
    tree: bytes


@dataclass(slots=True)
class _Step(Generic[H]):
    call: CallKeys[H]
    parent: "_Step[H] | None" = None
    choice: int = 0
    tree: bytes = b""
    has_children: bool = False


def stitch(calls: Iterable[CallKeys[H]]) -> list[Conversation[H]]:
    """Join calls into conversations, in time linear in the messages of all calls.

    The result depends on the calls alone, not on the order they come in: conversations are sorted by the leaf's time.
    Among calls with the same request and the same reply, a child belongs to the latest one not made after it.
    """
    steps = [_Step(call) for call in sorted(calls, key=_age)]
    replies = _index_replies(steps)
    # A parent's request is shorter than its child's, so parents have their tree when a child asks for it.
    for step in sorted(steps, key=lambda step: len(step.call.prefix_keys)):
        _adopt(step, replies)
    return [_conversation(step) for step in steps if not step.has_children]


def _age(call: CallKeys[H]) -> tuple[datetime, str]:
    return call.created_at, str(call.ref)


@dataclass(slots=True)
class _Makers(Generic[H]):
    """The calls that gave the same reply to the same request, oldest first."""

    times: list[datetime]
    steps: list[tuple[_Step[H], int]]


def _index_replies(steps: list[_Step[H]]) -> dict[bytes, _Makers[H]]:
    replies: dict[bytes, _Makers[H]] = {}
    for step in steps:
        for choice, key in enumerate(step.call.reply_keys):
            makers = replies.setdefault(key, _Makers([], []))
            makers.times.append(step.call.created_at)
            makers.steps.append((step, choice))
    return replies


def _adopt(step: _Step[H], replies: dict[bytes, _Makers[H]]) -> None:
    """Find the step's parent, the longest known reply in its request, and with it its tree."""
    for key in reversed(step.call.prefix_keys):
        makers = replies.get(key)
        if makers is not None:
            latest = bisect_right(makers.times, step.call.created_at)
            step.parent, step.choice = makers.steps[max(latest - 1, 0)]
            step.parent.has_children = True
            step.tree = step.parent.tree
            return
    step.tree = step.call.prefix_keys[-1] if step.call.prefix_keys else _lone_tree(step.call)


def _lone_tree(call: CallKeys[H]) -> bytes:
    """Name the tree of a call without messages, which nothing can join."""
    return blake2b(str(call.ref).encode("utf-8", "surrogatepass"), digest_size=ID_BYTES).digest()


def _conversation(leaf: _Step[H]) -> Conversation[H]:
    members = [leaf.call.ref]
    turns: dict[int, Turn[H]] = {position: Turn(position, None, None) for position in leaf.call.assistant_positions}
    step = leaf
    while step.parent is not None:
        maker = step.parent.call
        position = len(maker.prefix_keys)
        turns[position] = Turn(position, maker.ref, step.choice)
        members.append(maker.ref)
        step = step.parent
    return Conversation(
        ref=leaf.call.ref,
        turns=tuple(turns[position] for position in sorted(turns)),
        members=tuple(reversed(members)),
        tree=leaf.tree,
    )
