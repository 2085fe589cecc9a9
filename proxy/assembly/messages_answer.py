"""Answers of Anthropic's Messages API, plain and streamed: one reply, in chat form."""

from typing import Any

from proxy.assembly.completion import Completion, encodable, is_blank, read_text, reply_flags
from proxy.assembly.event_json import EventJson, is_too_deep
from proxy.assembly.messages_request import assistant_message
from proxy.assembly.request import Members, read_objects, write_object
from proxy.assembly.sse import Event
from store import json_text
from store.json_text import JsonTextError, JsonValue
from store.trace import Flag, JsonText, Reply

_KEPT = ("stop_sequence", "stop_details")
"""What a message of the dialect says about its end beside `stop_reason`; it stays on the message when it says it."""

_TYPE_OF = {"text_delta": "text", "thinking_delta": "thinking"}
"""What a block is whose beginning never came."""


def read_message(text: JsonText) -> Completion:
    """Read a plain answer."""
    if not text.startswith(b"{"):
        return Completion(flags=frozenset({Flag.RESPONSE_NOT_JSON}))
    fields = dict(json_text.members(text))
    blocks = read_objects(fields.get("content"))
    replies: tuple[Reply, ...] = ()
    if blocks is not None:
        kept = [(name, fields[name]) for name in _KEPT if not is_blank(fields.get(name, b"null"))]
        replies = (Reply(0, assistant_message(blocks, kept), read_text(fields.get("stop_reason"))),)
    usage = fields.get("usage", b"null")
    return Completion(
        replies=replies,
        usage=usage if usage.startswith(b"{") else None,
        served_model=read_text(fields.get("model")),
        upstream_id=read_text(fields.get("id")),
        error=None if is_blank(fields.get("error", b"null")) else text.decode(),
        flags=reply_flags(replies),
    )


class MessageAssembler:
    """Grows the message of a stream event by event; `finish` may be called at any time."""

    def __init__(self) -> None:
        self._json = EventJson()
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, list[_BlockDraft]] = {}
        self._usage: dict[str, Any] | None = None
        self._error: str | None = None
        self._has_ended = False

    def feed(self, event: Event) -> None:
        """Take the next event of the stream; what follows `message_stop` is no part of the answer."""
        data = event.data.strip()
        if self._has_ended or not data:
            return
        if data == b"[DONE]":
            self._has_ended = True
            return
        value = self._json.read(event, data)
        fields = _object(value)
        kind = fields.get("type")
        if kind == "error" or event.name == "error":
            self._error = data.decode("utf-8", "replace")
        elif kind == "message_start":
            self._start(_object(fields.get("message")))
        elif kind == "content_block_start":
            self._open(_index(fields), _BlockDraft(_object(fields.get("content_block"))))
        elif kind == "content_block_delta":
            self._block(fields).add(_object(fields.get("delta")))
        elif kind == "content_block_stop":
            self._block(fields).has_ended = True
        elif kind == "message_delta":
            self._message.update(
                {name: item for name, item in _object(fields.get("delta")).items() if item is not None}
            )
            self._take_usage(fields.get("usage"))
        elif kind == "message_stop":
            self._has_ended = True

    def finish(self) -> Completion:
        """Give the completion as far as it came."""
        finish_reason = _text(self._message.get("stop_reason"))
        replies: tuple[Reply, ...] = ()
        if self._blocks or finish_reason is not None:
            has_ended = finish_reason is not None
            drafts = [draft for index in sorted(self._blocks) for draft in self._blocks[index]]
            blocks = [draft.settle(has_ended=has_ended) for draft in drafts]
            kept = [(name, json_text.dumps(self._message[name])) for name in _KEPT if self._message.get(name)]
            replies = (Reply(0, assistant_message(blocks, kept), finish_reason),)
        flags = set(reply_flags(replies))
        if not self._has_ended and finish_reason is None:
            flags.add(Flag.STREAM_UNFINISHED)
        if not self._json.is_exact:
            flags.add(Flag.RESPONSE_NOT_JSON)
        return Completion(
            replies=replies,
            usage=None if self._usage is None else json_text.dumps(self._usage),
            served_model=_text(self._message.get("model")),
            upstream_id=_text(self._message.get("id")),
            error=self._error,
            flags=frozenset(flags),
        )

    def _start(self, message: dict[str, Any]) -> None:
        self._message.update(message)
        self._take_usage(message.get("usage"))
        content = message.get("content")
        for place, block in enumerate(content if isinstance(content, list) else ()):
            self._blocks[place] = [_BlockDraft(_object(block))]

    def _open(self, index: int, draft: "_BlockDraft") -> None:
        """Begin a block; where all have the same index, one that begins again is another one."""
        known = self._blocks.setdefault(index, [draft])
        if known[-1].has_grown:
            known.append(draft)
        else:
            known[-1] = draft

    def _block(self, fields: dict[str, Any]) -> "_BlockDraft":
        return self._blocks.setdefault(_index(fields), [_BlockDraft({})])[-1]

    def _take_usage(self, usage: JsonValue) -> None:
        """Take counts as they come: later ones are totals, and those left out still hold."""
        if isinstance(usage, dict):
            self._usage = (self._usage or {}) | {name: item for name, item in usage.items() if item is not None}


class _BlockDraft:
    """One content block while its deltas arrive."""

    def __init__(self, block: dict[str, Any]) -> None:
        self.has_ended = False
        self._fields = dict(block)
        self._pieces: dict[str, list[str]] = {}
        self._citations: list[Any] = []

    @property
    def has_grown(self) -> bool:
        """Whether anything came of it behind its beginning."""
        return self.has_ended or bool(self._pieces)

    def add(self, delta: dict[str, Any]) -> None:
        """Grow the block: texts get longer, `citation` goes to the list of them, anything else replaces."""
        kind = delta.get("type")
        if "type" not in self._fields and isinstance(kind, str) and kind in _TYPE_OF:
            self._fields["type"] = _TYPE_OF[kind]
        for name, value in delta.items():
            if name == "type" or value is None:
                continue
            if name == "citation":
                self._citations.append(value)
            elif isinstance(value, str) and name != "signature":
                known = self._fields.get(name)
                self._pieces.setdefault(name, [known] if isinstance(known, str) else []).append(value)
            else:
                self._fields[name] = value

    def settle(self, *, has_ended: bool) -> JsonText:
        """Give the block; the input of a tool that came in pieces is JSON only when all of it came.

        Args:
            has_ended: Whether the whole message was said to be at its end.
        """
        fields = self._fields | {name: "".join(pieces) for name, pieces in self._pieces.items()}
        raw = fields.pop("partial_json", "")
        if self._citations:
            known = fields.get("citations")
            fields["citations"] = [*(known if isinstance(known, list) else ()), *self._citations]
        members: Members = [(name, json_text.dumps(value)) for name, value in fields.items()]
        if "input" not in fields or (not raw.strip() and (self.has_ended or has_ended)):
            return write_object(members if not raw else [*members, ("partial_json", json_text.dumps(raw))])
        whole = _compact(raw)
        if whole is None:
            others = [(name, value) for name, value in members if name != "input"]
            return write_object([*others, ("partial_json", json_text.dumps(raw))])
        return write_object([(name, whole if name == "input" else value) for name, value in members])


def carried_text(event: dict[str, Any]) -> str | None:
    """Give the text by which an event makes one block grow, if taking it twice would change nothing else."""
    delta = event.get("delta")
    if event.get("type") != "content_block_delta" or not isinstance(delta, dict):
        return None
    growing = [(name, value) for name, value in delta.items() if name != "type" and value is not None]
    if len(growing) != 1:
        return None
    name, value = growing[0]
    return value if type(value) is str and name not in ("signature", "citation") else None


def _compact(text: str) -> JsonText | None:
    try:
        whole = json_text.compact(text.encode())
    except (JsonTextError, UnicodeEncodeError):
        return None
    return None if is_too_deep(whole) else whole


def _index(fields: dict[str, Any]) -> int:
    index = fields.get("index")
    return index if type(index) is int else 0


def _object(value: JsonValue) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: JsonValue) -> str | None:
    return encodable(value) or None if isinstance(value, str) else None
