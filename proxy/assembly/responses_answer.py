"""Answers of OpenAI's Responses API, plain and streamed: one reply, in chat form.

The last event of a stream holds the whole answer, which is then read as a plain one is. What the events before it
brought is put together only for a stream that was cut, and for servers that leave `output` empty at the end.
"""

from collections.abc import Sequence
from typing import Any

from proxy.assembly.completion import Completion, encodable, is_blank, read_text, reply_flags
from proxy.assembly.event_json import EventJson
from proxy.assembly.request import read_objects
from proxy.assembly.responses_items import assistant_message, logprobs_of
from proxy.assembly.sse import Event
from store import json_text
from store.json_text import JsonTextError, JsonValue
from store.trace import Flag, JsonText, Reply

_ENDS = ("completed", "incomplete", "failed", "cancelled")

_TEXTS = {
    "response.output_text": ("content", "text", "output_text"),
    "response.refusal": ("content", "refusal", "refusal"),
    "response.reasoning_text": ("content", "text", "reasoning_text"),
    "response.reasoning_summary_text": ("summary", "text", "summary_text"),
}
"""By the event's name: the list of parts that grows, the part's field, and its type where no event named it."""
_FIELDS = {
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
    "response.mcp_call_arguments": "arguments",
    "response.code_interpreter_call_code": "code",
}
_PARTS = {"response.content_part": "content", "response.reasoning_summary_part": "summary"}


def read_response(text: JsonText, came: Sequence[JsonText] = ()) -> Completion:
    """Read a whole answer.

    Args:
        text: The response object.
        came: The items a stream brought, which count where the object itself holds none.
    """
    if not text.startswith(b"{"):
        return Completion(flags=frozenset({Flag.RESPONSE_NOT_JSON}))
    fields = dict(json_text.members(text))
    output = read_objects(fields.get("output"))
    finish_reason = _finish_reason(fields)
    items = output or came
    replies: tuple[Reply, ...] = ()
    if items or (output is not None and finish_reason is not None):
        replies = (Reply(0, assistant_message(items), finish_reason, logprobs_of(items)),)
    usage = fields.get("usage", b"null")
    return Completion(
        replies=replies,
        usage=usage if usage.startswith(b"{") else None,
        served_model=read_text(fields.get("model")),
        upstream_id=read_text(fields.get("id")),
        error=None if is_blank(fields.get("error", b"null")) else text.decode(),
        flags=reply_flags(replies),
    )


def _finish_reason(fields: dict[str, JsonText]) -> str | None:
    """Give why an answer is incomplete, else its status; None for one that has not ended."""
    status = read_text(fields.get("status"))
    details = fields.get("incomplete_details", b"null")
    if status == "incomplete" and details.startswith(b"{"):
        return read_text(dict(json_text.members(details)).get("reason")) or status
    return status if status in _ENDS else None


class ResponseAssembler:
    """Grows the answer of a stream event by event; `finish` may be called at any time."""

    def __init__(self) -> None:
        self._json = EventJson()
        self._items: dict[int, _ItemDraft] = {}
        self._latest = 0
        self._response: dict[str, Any] = {}
        self._whole: JsonText | None = None
        self._error: str | None = None
        self._has_ended = False

    def feed(self, event: Event) -> None:
        """Take the next event of the stream; what follows the event that ends the answer is no part of it."""
        data = event.data.strip()
        if self._has_ended or not data:
            return
        if data == b"[DONE]":
            self._has_ended = True
            return
        value = self._json.read(event, data)
        fields = value if isinstance(value, dict) else {}
        kind = _text(fields.get("type")) or ""
        if kind == "error" or event.name == "error" or (fields.get("error") and "response" not in fields):
            self._error = data.decode("utf-8", "replace")
        elif isinstance(fields.get("response"), dict):
            self._take_response(kind, fields["response"], data)
        else:
            self._take_part(kind, fields)

    def finish(self) -> Completion:
        """Give the completion as far as it came."""
        items = [self._items[index].settle() for index in sorted(self._items)]
        if self._whole is not None:
            completion = read_response(self._whole, items)
        else:
            replies = (Reply(0, assistant_message(items), None, logprobs_of(items)),) if items else ()
            completion = Completion(
                replies=replies,
                served_model=_text(self._response.get("model")),
                upstream_id=_text(self._response.get("id")),
                flags=reply_flags(replies),
            )
        flags = set(completion.flags)
        if self._whole is None and not self._has_ended:
            flags.add(Flag.STREAM_UNFINISHED)
        if not self._json.is_exact:
            flags.add(Flag.RESPONSE_NOT_JSON)
        return Completion(
            replies=completion.replies,
            usage=completion.usage,
            served_model=completion.served_model,
            upstream_id=completion.upstream_id,
            error=self._error or completion.error,
            flags=frozenset(flags),
        )

    def _take_response(self, kind: str, response: dict[str, Any], data: bytes) -> None:
        self._response = response
        if kind.removeprefix("response.") in _ENDS:
            self._has_ended = True
            try:
                self._whole = dict(json_text.members(data))["response"]
            except JsonTextError:
                # A number that JSON does not have stands somewhere in it and was made null.
                self._whole = json_text.dumps(response)

    def _take_part(self, kind: str, fields: dict[str, Any]) -> None:
        base, _, what = kind.rpartition(".")
        if base == "response.output_item":
            self._item(fields).take(fields.get("item"), is_done=what == "done")
        elif base in _TEXTS and what in ("delta", "done"):
            name, field, part_type = _TEXTS[base]
            part = self._item(fields).part(name, _number(fields, name), part_type)
            part.take(field, fields.get("delta"), fields.get(field) if what == "done" else None)
            part.take_logprobs(fields.get("logprobs"), is_done=what == "done")
        elif base in _PARTS and what == "added":
            name = _PARTS[base]
            self._item(fields).part(name, _number(fields, name), "").fill(fields.get("part"))
        elif base in _FIELDS and what in ("delta", "done"):
            field = _FIELDS[base]
            self._item(fields).fields.take(field, fields.get("delta"), fields.get(field) if what == "done" else None)
        elif kind == "response.output_text.annotation.added":
            self._item(fields).part("content", _number(fields, "content"), "output_text").annotate(
                fields.get("annotation")
            )

    def _item(self, fields: dict[str, Any]) -> "_ItemDraft":
        index = fields.get("output_index")
        self._latest = index if type(index) is int else self._latest
        item = self._items.get(self._latest)
        if item is None:
            item = self._items[self._latest] = _ItemDraft()
        return item


class _Draft:
    """An object while its texts arrive."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._pieces: dict[str, list[str]] = {}

    def fill(self, value: JsonValue) -> None:
        """Begin with what the object is said to be."""
        if isinstance(value, dict):
            self.values |= value

    def take(self, field: str, delta: JsonValue, whole: JsonValue) -> None:
        """Grow a text by a piece of it, or set it to what all of it is said to be."""
        if isinstance(whole, str):
            self._pieces[field] = [whole]
        elif isinstance(delta, str):
            known = self.values.get(field)
            self._pieces.setdefault(field, [known] if isinstance(known, str) else []).append(delta)

    def take_logprobs(self, logprobs: JsonValue, *, is_done: bool) -> None:
        if isinstance(logprobs, list) and logprobs:
            known = self.values.get("logprobs")
            self.values["logprobs"] = logprobs if is_done or not isinstance(known, list) else known
            if self.values["logprobs"] is known:
                known.extend(logprobs)

    def annotate(self, annotation: JsonValue) -> None:
        known = self.values.get("annotations")
        if isinstance(known, list):
            known.append(annotation)
        else:
            self.values["annotations"] = [annotation]

    def settle(self) -> dict[str, Any]:
        return self.values | {field: "".join(pieces) for field, pieces in self._pieces.items()}


class _ItemDraft:
    """One item while its events arrive."""

    def __init__(self) -> None:
        self.fields = _Draft()
        self._parts: dict[str, dict[int, _Draft]] = {}
        self._whole: JsonText | None = None

    def take(self, item: JsonValue, *, is_done: bool) -> None:
        """Take what the item is said to be, at its beginning or at its end."""
        if not isinstance(item, dict):
            return
        if is_done:
            self._whole = json_text.dumps(item)
        else:
            self.fields.fill(item)

    def part(self, name: str, index: int, part_type: str) -> _Draft:
        """Give one part of a list of parts; its type is that until an event names it."""
        parts = self._parts.setdefault(name, {})
        part = parts.get(index)
        if part is None:
            part = parts[index] = _Draft()
            if part_type:
                part.values["type"] = part_type
        return part

    def settle(self) -> JsonText:
        if self._whole is not None:
            return self._whole
        lists = {name: [parts[index].settle() for index in sorted(parts)] for name, parts in self._parts.items()}
        fields = self.fields.settle() | lists
        if "type" not in fields:
            # Deltas of an item whose beginning never came: their kind tells what it is.
            fields = {"type": self._guess_type(), **fields}
        if fields["type"] == "message":
            fields.setdefault("role", "assistant")
        return json_text.dumps(fields)

    def _guess_type(self) -> str:
        if "arguments" in self.fields.settle():
            return "function_call"
        types = [part.values.get("type") for parts in self._parts.values() for part in parts.values()]
        return "reasoning" if "reasoning_text" in types or "summary_text" in types else "message"


def _number(fields: dict[str, Any], name: str) -> int:
    index = fields.get(f"{name}_index")
    return index if type(index) is int else 0


def _text(value: JsonValue) -> str | None:
    return encodable(value) or None if isinstance(value, str) else None
