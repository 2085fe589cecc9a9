"""An assistant message in chat form, put together from another dialect's pieces.

Chat form has one text, one list of calls and one reasoning; the other dialects have a sequence of blocks or items. What
chat form knows is put where it belongs, the very characters that came; what it does not know stays in `content`, as a
part, in its place. Where that does not tell the whole sequence again (signatures, ids, another order), the message
holds it under `verbatim`, as it came.
"""

from collections.abc import Sequence

from proxy.assembly.request import Members, write_array, write_object
from store import json_text
from store.trace import JsonText

_BLANK = (b"null", b"[]", b"{}", b'""')


class AssistantMessage:
    """An assistant message while its pieces are added in their order."""

    def __init__(self) -> None:
        self._parts: list[JsonText] = []
        self._texts: list[JsonText | None] = []
        self._reasoning: list[JsonText] = []
        self._refusals: list[JsonText] = []
        self._calls: list[JsonText] = []

    def add_text(self, text: JsonText, others: Members = ()) -> None:
        """Add a text, and what else stood beside it."""
        self._parts.append(write_object([("type", b'"text"'), ("text", text), *others]))
        self._texts.append(None if others else text)

    def add_part(self, part: JsonText) -> None:
        """Add what chat form has no place for."""
        self._parts.append(part)
        self._texts.append(None)

    def add_reasoning(self, text: JsonText) -> None:
        """Add a text of reasoning; several are joined by an empty line."""
        if text not in _BLANK:
            self._reasoning.append(text)

    def add_refusal(self, text: JsonText) -> None:
        """Add a text of refusal."""
        self._refusals.append(text)

    def add_call(self, kind: bytes, call_id: JsonText | None, called: Members, others: Members = ()) -> None:
        """Add a tool call.

        Args:
            kind: `function` or `custom`.
            call_id: None when there was none.
            called: The members of what is called.
            others: What else stood beside them.
        """
        identity = [] if call_id is None else [("id", call_id)]
        name = kind.decode()
        self._calls.append(write_object([*identity, ("type", b'"%s"' % kind), (name, write_object(called)), *others]))

    def write(self, others: Members = (), verbatim: Sequence[JsonText] | None = None) -> JsonText:
        """Give the message, with other members of it, and the sequence it was made of where that is not all in it."""
        members = [("role", b'"assistant"'), ("content", self._content())]
        if self._reasoning:
            members.append(("reasoning_content", join_texts(self._reasoning, rb"\n\n")))
        if self._refusals:
            members.append(("refusal", join_texts(self._refusals)))
        if self._calls:
            members.append(("tool_calls", write_array(self._calls)))
        members += others
        if verbatim is not None:
            members.append(("verbatim", write_array(verbatim)))
        return write_object(members)

    def _content(self) -> JsonText:
        if not self._parts:
            return b"null"
        if len(self._parts) == 1 and (text := self._texts[0]) is not None:
            return text
        return write_array(self._parts)


def join_texts(texts: Sequence[JsonText], between: bytes = b"") -> JsonText:
    """Join JSON strings into one, escapes as they stand; `between` is written as inside a JSON string."""
    return b'"' + between.join([text[1:-1] for text in texts]) + b'"'


def as_text(value: JsonText) -> JsonText:
    """Write a JSON value as a JSON string that holds it, character by character."""
    return json_text.dumps(value.decode())


def is_text(value: JsonText | None) -> bool:
    """Whether a value is there and is a string."""
    return value is not None and value.startswith(b'"')


def others_of(members: Members, known: Sequence[str]) -> Members:
    """Give the members that are not known and say something."""
    return [(name, value) for name, value in members if name not in known and value not in _BLANK]
