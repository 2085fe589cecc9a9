"""The values that travel through the pipeline: conversations and examples.

Foreign JSON becomes these types once, at the border (`processing.sources`); no stage below sees a raw line again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from store.recorded.message import Json, Message, Turn


@dataclass(frozen=True, slots=True)
class Conversation:
    """The ordered whole: one leaf of the message tree, or one line of a file that no other line extends.

    Attributes:
        id: Content-derived and stable: the same conversation has the same id in every run.
        messages: All messages, the last reply included.
        tools: Tool definitions in OpenAI form, None when there were none.
        response_format: As recorded.
        turns: Position in `messages` of an assistant message → what is known of its call.
        tree: Names the connected part of the message tree; conversations of one tree never part in a split.
        source: Where it came from, for a person: `traces.jsonl:17` or the leaf's trace id.
        metadata: Whatever the source said besides.
    """

    id: str
    messages: tuple[Message, ...]
    tree: str
    source: str
    tools: list[Json] | None = None
    response_format: Json | None = None
    turns: Mapping[int, Turn] = field(default_factory=dict)
    metadata: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """One training item on its way through the pipeline.

    Attributes:
        id: Content-derived and stable.
        conversation_id: The conversation it was cut from.
        group: Examples of one group stay in one part.
        messages: The whole, targets included: for a single-turn example the prefix and the target at the end; for a
            whole conversation everything up to the last assistant message.
        targets: Positions in `messages` of the assistant messages to be learned (and relabelled).
        tools: See `Conversation`.
        response_format: See `Conversation`.
        turns: See `Conversation`; positions match `messages`.
    """

    id: str
    conversation_id: str
    group: str
    messages: tuple[Message, ...]
    targets: tuple[int, ...]
    source: str
    tools: list[Json] | None = None
    response_format: Json | None = None
    turns: Mapping[int, Turn] = field(default_factory=dict)
