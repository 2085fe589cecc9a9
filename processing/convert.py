"""Examples out of conversations: one per assistant message, or one per conversation.

Either way a *target* is an assistant message worth learning. Never a target: an empty reply, a reply that was cut short
(`finish_reason` length or content_filter), a reply of a call that did not complete, a message that nothing came before.
Such a message stays in the history of later targets, since the client went on from it, unless it is empty. What follows
the last assistant message has no target and is counted, not dropped in silence.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

from processing.example import Conversation, Example
from store.recorded.message import Json, Message
from store.recorded.message_form import text_of, to_openai

_SYSTEM_ROLES = frozenset({"system", "developer"})


class SkipReason(StrEnum):
    """Why an assistant message, or a whole conversation, gives no example. A closed list."""

    NO_ASSISTANT_TURN = "no_assistant_turn"
    """The conversation holds no assistant message."""
    EMPTY_REPLY = "empty_reply"
    """Neither text nor a refusal nor a tool call."""
    LENGTH = "length"
    """Cut short by the token limit."""
    CONTENT_FILTER = "content_filter"
    """Cut short by the upstream's content filter."""
    INCOMPLETE = "incomplete"
    """The call that wrote it did not complete."""
    NOT_ASKED = "not_asked"
    """Nothing but system messages stands before it: there is no input to learn it from."""
    REPEATED = "repeated"
    """Another conversation of the same tree already gave this very example: they share the turn."""


_CUT_SHORT = {
    "length": SkipReason.LENGTH,
    "max_tokens": SkipReason.LENGTH,
    "model_context_window_exceeded": SkipReason.LENGTH,
    "max_output_tokens": SkipReason.LENGTH,
    "content_filter": SkipReason.CONTENT_FILTER,
    "refusal": SkipReason.CONTENT_FILTER,
}
"""Finish reasons of a reply that was cut: those of chat completions, of Anthropic's messages, of the Responses API. A
model that refuses in its own words has another one; `refusal` is Anthropic's word for its filter."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An assistant message that is no target, or a conversation without any.

    Attributes:
        conversation_id: The conversation.
        position: The message's position in the conversation; None for a conversation without assistant message.
        reason: Why.
        source: Where the conversation came from.
    """

    conversation_id: str
    position: int | None
    reason: SkipReason
    source: str


@dataclass(frozen=True, slots=True)
class Converted:
    """What conversations gave.

    Attributes:
        examples: In the order of the conversations, and of the targets within each; ids are unique.
        skipped: Assistant messages and conversations that gave none.
        trailing_messages: Messages after the last assistant message of their conversation; they appear in no example.
        conversations: How many conversations were looked at.
        without_example: Ids of the conversations that gave no example, with the reason of their last skip.
    """

    examples: tuple[Example, ...]
    skipped: tuple[Skipped, ...]
    trailing_messages: int
    conversations: int
    without_example: Mapping[str, SkipReason]

    @property
    def reasons(self) -> dict[str, int]:
        """How often each reason to skip occurred, by name."""
        return dict(sorted(Counter(str(skip.reason) for skip in self.skipped).items()))


def convert(
    conversations: Iterable[Conversation],
    *,
    single_turn: bool,
    remove_system_prompt: bool = False,
    groups: Mapping[str, str] | None = None,
) -> Converted:
    """Cut conversations into examples.

    Args:
        conversations: As the sources give them.
        single_turn: True: one example per target, everything before it as history. False: one example per
            conversation up to its last target, all targets in it.
        remove_system_prompt: Leave out leading system and developer messages.
        groups: Conversation id → group (`processing.dedup.group_conversations`); without it the conversation's tree.
    """
    examples: dict[str, Example] = {}
    skipped: list[Skipped] = []
    without: dict[str, SkipReason] = {}
    trailing = count = 0
    for conversation in conversations:
        count += 1
        skips = _skips(conversation)
        trailing += _trailing(conversation)
        group = (groups or {}).get(conversation.id, conversation.tree)
        before = len(examples)
        for example in _cut(conversation, set(skips), group, single_turn=single_turn, bare=remove_system_prompt):
            if examples.setdefault(example.id, example) is not example:
                skips[example.targets[-1]] = SkipReason.REPEATED
        if not _assistants(conversation):
            skips = {None: SkipReason.NO_ASSISTANT_TURN}
        skipped += [Skipped(conversation.id, at, reason, conversation.source) for at, reason in skips.items()]
        if len(examples) == before:
            without[conversation.id] = list(skips.values())[-1]
    return Converted(tuple(examples.values()), tuple(skipped), trailing, count, without)


def example_id(messages: Iterable[Message], tools: list[Json] | None, response_format: Json | None) -> str:
    """Hash an example's content; the same content has the same id in every run."""
    content = [[to_openai(message) for message in messages], tools, response_format]
    return blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def skip_reason(conversation: Conversation, position: int) -> SkipReason | None:
    """Judge whether the assistant message at a position may be a target; None when it may."""
    message, turn = conversation.messages[position], conversation.turns.get(position)
    if turn is not None and turn.outcome not in (None, "completed"):
        return SkipReason.INCOMPLETE
    if turn is not None and turn.finish_reason in _CUT_SHORT:
        return _CUT_SHORT[turn.finish_reason]
    if _is_empty(message):
        return SkipReason.EMPTY_REPLY
    is_asked = any(before.role not in _SYSTEM_ROLES for before in conversation.messages[:position])
    return None if is_asked else SkipReason.NOT_ASKED


def _cut(
    conversation: Conversation, skipped: set[int | None], group: str, *, single_turn: bool, bare: bool
) -> list[Example]:
    targets = [position for position in _assistants(conversation) if position not in skipped]
    if single_turn:
        return [_example(conversation, [target], group, bare=bare) for target in targets]
    return [_example(conversation, targets, group, bare=bare)] if targets else []


def _example(conversation: Conversation, targets: list[int], group: str, *, bare: bool) -> Example:
    kept = _kept(conversation.messages[: targets[-1] + 1], bare=bare)
    messages = tuple(conversation.messages[position] for position in kept)
    moved = {old: new for new, old in enumerate(kept)}
    return Example(
        id=example_id(messages, conversation.tools, conversation.response_format),
        conversation_id=conversation.id,
        group=group,
        messages=messages,
        targets=tuple(moved[target] for target in targets),
        source=conversation.source,
        tools=conversation.tools,
        response_format=conversation.response_format,
        turns={moved[old]: turn for old, turn in conversation.turns.items() if old in moved},
    )


def _kept(messages: tuple[Message, ...], *, bare: bool) -> list[int]:
    """Positions that stay: all but empty assistant messages and, when bare, the leading system messages."""
    start = 0
    while bare and start < len(messages) and messages[start].role in _SYSTEM_ROLES:
        start += 1
    return [
        position
        for position in range(start, len(messages))
        if messages[position].role != "assistant" or not _is_empty(messages[position])
    ]


def _skips(conversation: Conversation) -> dict[int | None, SkipReason]:
    judged = {position: skip_reason(conversation, position) for position in _assistants(conversation)}
    return {position: reason for position, reason in judged.items() if reason is not None}


def _assistants(conversation: Conversation) -> list[int]:
    return [position for position, message in enumerate(conversation.messages) if message.role == "assistant"]


def _trailing(conversation: Conversation) -> int:
    assistants = _assistants(conversation)
    return len(conversation.messages) - 1 - assistants[-1] if assistants else 0


def _is_empty(message: Message) -> bool:
    """Whether the message says nothing at all; a part that is not text (audio, an image) says something."""
    if message.tool_calls or message.refusal or text_of(message).strip():
        return False
    return not (isinstance(message.content, list) and any(not _is_text(part) for part in message.content))


def _is_text(part: Json) -> bool:
    return isinstance(part, str) or (isinstance(part, dict) and part.get("type") == "text")
