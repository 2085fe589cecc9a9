"""From recorded calls to conversations: each n-turn chat once, whole, with the call that wrote each of its replies.

A recorded call is taken as its messages without the last one, and the last one as what it adds. For a call with a reply
that is request and reply; for a line that ends in a tool result or a failed call without a reply it makes the line the
parent of any other that goes on from there. So a line that is the beginning of another is absorbed, whatever it ends
in.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple

from processing.example import Conversation
from store import conversation as stitching
from store.recorded.call import RecordedCall
from store.recorded.message import Message, Turn
from store.recorded.message_form import to_openai
from store.tree import stitch_key

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stitched(NamedTuple):
    """Conversations, and where the other calls went.

    Attributes:
        conversations: One per leaf, in the order of their last calls.
        calls: How many calls there were.
        absorbed: Calls that another one continues: they live on as turns of its conversation.
        duplicates: Calls equal to an earlier one in messages, tools and response format.
    """

    conversations: tuple[Conversation, ...]
    calls: int
    absorbed: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class _Keyed:
    call: RecordedCall
    keys: tuple[bytes, ...]
    created_at: datetime
    id: str


class Stitcher:
    """Takes recorded calls one by one and joins them into conversations at the end.

    One object is kept per message that many calls repeat, so an n-turn chat recorded call by call costs n messages of
    memory and not n².
    """

    def __init__(self) -> None:
        self._messages: dict[bytes, Message] = {}
        self._firsts: dict[str, _Keyed] = {}
        self._count = 0

    def add(self, recorded: RecordedCall) -> None:
        """Take one call; of calls that are equal one stands for all, whichever came first."""
        call, keys = self._shared(recorded)
        created_at = call.created_at or _EPOCH + timedelta(microseconds=self._count)
        self._count += 1
        keyed = _Keyed(call, keys, created_at, _conversation_id(keys[-1], call))
        first = self._firsts.setdefault(keyed.id, keyed)
        if first is not keyed and _rank(call) < _rank(first.call):
            self._firsts[keyed.id] = replace(keyed, created_at=first.created_at)

    def finish(self) -> Stitched:
        """Join what was taken; what comes out depends on the calls alone, and only its order on theirs."""
        firsts = self._firsts
        leaves = stitching.stitch(
            stitching.CallKeys(keyed.id, keyed.call.created_at or _EPOCH, keyed.keys[:-1], keyed.keys[-1:])
            for keyed in firsts.values()
        )
        leaves.sort(key=lambda leaf: (firsts[leaf.ref].created_at, leaf.ref))
        conversations = tuple(_conversation(leaf, firsts) for leaf in leaves)
        return Stitched(
            conversations,
            calls=self._count,
            absorbed=len(firsts) - len(conversations),
            duplicates=self._count - len(firsts),
        )

    def _shared(self, call: RecordedCall) -> tuple[RecordedCall, tuple[bytes, ...]]:
        """The call with its messages shared, and the stitch key of each."""
        keys: list[bytes] = []
        shared: list[Message] = []
        for message in call.messages:
            keys.append(stitch_key(keys[-1] if keys else None, to_openai(message)))
            known = self._messages.setdefault(keys[-1], message)
            shared.append(known if known == message else message)
        return replace(call, messages=tuple(shared)), tuple(keys)


def _rank(call: RecordedCall) -> tuple[datetime, str]:
    """What decides among equal calls: the time, and then what is known of them; never their place in a file."""
    return call.created_at or _EPOCH, repr((call.turn, sorted(call.metadata.items(), key=str)))


def _conversation_id(last_key: bytes, call: RecordedCall) -> str:
    """Hash what makes two conversations the same: the chain of messages, the tools and the response format."""
    about = json.dumps([call.tools, call.response_format], sort_keys=True)
    return blake2b(last_key + about.encode(), digest_size=16).hexdigest()


def _conversation(leaf: stitching.Conversation[str], calls: Mapping[str, _Keyed]) -> Conversation:
    keyed = calls[leaf.ref]
    messages = list(keyed.call.messages)
    turns: dict[int, Turn] = {}
    for turn in leaf.turns:
        maker = calls[turn.ref].call if turn.ref is not None else None
        if maker is not None and messages[turn.position].role == "assistant":
            turns[turn.position] = maker.turn
            messages[turn.position] = _with_lost_fields(messages[turn.position], maker.messages[-1])
    if messages[-1].role == "assistant":
        turns[len(messages) - 1] = keyed.call.turn
    metadata = dict(keyed.call.metadata)
    if keyed.call.flags:
        metadata["message_flags"] = list(keyed.call.flags)
    return Conversation(
        id=keyed.id,
        messages=tuple(messages),
        tree=leaf.tree.hex(),
        source=keyed.call.source,
        tools=keyed.call.tools,
        response_format=keyed.call.response_format,
        turns=turns,
        metadata=metadata,
    )


def _with_lost_fields(echo: Message, reply: Message) -> Message:
    """Give the client's echo of a reply the reasoning that clients do not send back."""
    return replace(echo, reasoning=reply.reasoning) if echo.reasoning is None and reply.reasoning else echo
