"""Why a target cannot hold a row, and what of a row it cannot carry: two closed lists."""

from enum import StrEnum


class LeftOut(StrEnum):
    """Why a row is not in an export. A closed list."""

    NO_ANSWER = "no_answer"
    """No assistant message is to be learned from."""
    NO_PROMPT = "no_prompt"
    """Nothing stands before the answer."""
    NOT_A_ROW = "not_a_row"
    """The messages cannot be read as chat messages."""
    UNSTRUCTURED = "unstructured"
    """The row is of the unstructured part, which has no answers; the target is for learning from answers."""
    ERASED = "erased"
    """A trace that the row was made from has been erased, and `--without-erased` was asked for."""
    UNTRAINED_ANSWER = "untrained_answer"
    """An assistant message is not to be learned, and the target learns all of them."""
    INVALID_ARGUMENTS = "invalid_arguments"
    """The arguments of a tool call are not one JSON object, and the target wants an object."""
    NO_CALL_ID = "no_call_id"
    """A tool result has no id, more than one call could be meant, and the target wants one."""
    SEVERAL_CALLS = "several_calls"
    """One answer makes several tool calls, and the target has room for one."""
    CALL_WITH_TEXT = "call_with_text"
    """An answer both speaks and calls a tool, and the target has room for one of them."""
    SEVERAL_TOOL_RESULTS = "several_tool_results"
    """Several tool results follow each other, and the target has room for one."""
    TURNS_DO_NOT_ALTERNATE = "turns_do_not_alternate"
    """The target wants input and answer in turn."""
    LATE_SYSTEM_MESSAGE = "late_system_message"
    """A system message stands after the beginning, where the target has none."""
    MARK_IN_TEXT = "mark_in_text"
    """A text holds the very mark that stands for an image in the target."""
    IMAGE = "image"
    """The row holds an image, and the target has no room for one."""
    IMAGE_NOT_INLINE = "image_not_inline"
    """An image is given by its address; the target wants its bytes, and nothing is downloaded."""
    OTHER_PART = "other_part"
    """A message holds a content part (audio, a file) that the target has no room for."""
    NO_ORIGINAL = "no_original"
    """No recorded answer is known to prefer the label to."""
    SAME_AS_ORIGINAL = "same_as_original"
    """The label is the recorded answer: neither is to be preferred."""
    HISTORY_CHANGED = "history_changed"
    """An earlier answer was relabelled too, so the recorded answer belongs to another history."""
    LONE_SURROGATE = "lone_surrogate"
    """A text holds half of a surrogate pair, which UTF-8 cannot hold and readers lose."""
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    """A number is beyond 64 bits, or so large or small that readers lose it."""


class NotCarried(StrEnum):
    """What of a row that is in an export stays behind, since the target has no field for it. A closed list."""

    METADATA = "metadata"
    """Where the row came from, who labelled it, its scores."""
    REASONING = "reasoning"
    """`reasoning_content` of a message."""
    REFUSAL = "refusal"
    """The `refusal` of a message that also says something."""
    NAME = "name"
    """The `name` of a message."""
    MESSAGE_FIELDS = "message_fields"
    """Other fields of a message."""
    CALL_IDS = "call_ids"
    """The ids that tie tool results to calls."""
    TOOLS = "tools"
    """The tool definitions."""
    RESPONSE_FORMAT = "response_format"
    """The shape that the answer was asked for in."""
    HISTORY = "history"
    """Messages before the last user message."""
    WEIGHTS = "weights"
    """Which answers are to be learned."""
    SYSTEM = "system"
    """System messages; the job description stands in their place."""
    ANSWERS = "answers"
    """Answers of the row that make no line of their own, while others do."""
    COLUMNS = "columns"
    """Columns beside those of every row, such as message traces."""


class CannotHoldError(Exception):
    """A target cannot hold a row.

    Attributes:
        reason: Why, from the closed list.
        detail: Where and what, without message content.
    """

    def __init__(self, reason: LeftOut, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
