"""The errors of reading recorded calls.

RecordedError
├── MessageFormError    one message is not a chat message
└── LineError           one line cannot be read, for one of a closed list of reasons
"""

from enum import StrEnum


class RecordedError(Exception):
    """Base of every error of this package; its text is fit for a terminal and holds no message content."""


class MessageFormError(RecordedError):
    """One message is not a chat message.

    Attributes:
        position: Position of the message in its array, from 0.
        field: The field at fault, such as `role` or `tool_calls[0].function.name`.
        found: What stands there: a role, or the JSON type; never message content.
        allowed: What may stand there.
    """

    def __init__(self, position: int, field: str, found: str, allowed: str) -> None:
        self.position = position
        self.field = field
        self.found = found
        self.allowed = allowed
        super().__init__(f"message {position}: {field} is {found}; allowed: {allowed}")


class RejectReason(StrEnum):
    """Why a line or trace could not be read. A closed list."""

    NOT_UTF8 = "not_utf8"
    """The line is not UTF-8 text."""
    NOT_JSON = "not_json"
    """The line is not one JSON value."""
    NOT_OBJECT = "not_object"
    """The line is JSON, but not an object."""
    TOO_LONG = "too_long"
    """The line is longer than an import takes; `rejected.jsonl` keeps its beginning."""
    BROKEN_FILE = "broken_file"
    """Here a compressed file is damaged or cut short; nothing behind it could be read."""
    TOO_DEEP = "too_deep"
    """The line nests deeper than 200 levels."""
    NO_MESSAGES = "no_messages"
    """There is no array of messages, or an empty one. Is the format right?"""
    BAD_MESSAGE = "bad_message"
    """A message is not a chat message; `detail` tells which and what may stand there."""
    BAD_TOOLS = "bad_tools"
    """The tools are not an array of tool definitions with names."""
    BAD_RESPONSE_FORMAT = "bad_response_format"
    """The response format is not an object."""
    BAD_CONTEXT = "bad_context"
    """The `context` string of an unstructured line does not hold an array of messages."""
    NO_INPUT_OUTPUT = "no_input_output"
    """A Langfuse observation with neither input nor output, or a span of a model's answer without its messages."""
    LEVEL_ERROR = "level_error"
    """A call that its source says ended in an error, as an observation of that level. Imports keep it."""
    NOT_GENERATION = "not_generation"
    """A Langfuse observation or an OpenTelemetry span that is not a model's answer."""
    NOT_OUR_EXPORT = "not_our_export"
    """The format `traces` was asked for, and the line is not one that `tracemill export` wrote."""
    NOT_CHAT = "not_chat"
    """A stored trace of an endpoint that holds no conversation, such as text completions."""


class LineError(RecordedError):
    """One line cannot be read.

    Attributes:
        reason: Why, from the closed list.
        detail: One sentence for a person; holds no message content.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")
