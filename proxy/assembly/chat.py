"""Assembling the reply of a streamed chat completion from its chunks.

The assembler takes events and gives a `Completion` equal to the one a plain answer would have been, as far as the
stream came. It is meant for what servers really send, not only for what the standard says; two rules stand above all
others: nothing is made up (no finish reason, no arguments, no usage), and nothing that came is lost because of what
came after.
"""

from typing import Any, Final

from proxy.assembly.completion import MAX_CHOICES, Completion, encodable, read_index, reply_flags
from proxy.assembly.delta import MessageDraft
from proxy.assembly.event_json import EventJson
from proxy.assembly.sse import Event
from store import json_text
from store.json_text import JsonValue
from store.trace import Flag, JsonText, Reply

_EMPTY: Final[tuple[JsonValue, ...]] = (None, [], {})
"""What adds nothing to a message but its own name."""


class ChatAssembler:
    """Grows a completion chunk by chunk; `finish` may be called at any time and tells what there is so far."""

    def __init__(self) -> None:
        self._choices: dict[int, _ChoiceDraft] = {}
        self._usage: dict[str, Any] | None = None
        self._model: str | None = None
        self._id: str | None = None
        self._system_fingerprint: str | None = None
        self._error: str | None = None
        self._has_done = False
        self._json = EventJson()

    def feed(self, event: Event) -> None:
        """Take the next event of the stream; what follows `[DONE]` is no part of the answer."""
        data = event.data.strip()
        if self._has_done or not data:
            return
        if data == b"[DONE]":
            self._has_done = True
            return
        chunk = self._json.read(event, data)
        is_object = isinstance(chunk, dict)
        if event.name == "error" or (is_object and (chunk.get("error") or chunk.get("object") == "error")):
            self._error = data.decode("utf-8", "replace")
        if is_object:
            self.feed_chunk(chunk)

    def feed_chunk(self, chunk: dict[str, Any]) -> None:
        """Take one parsed chunk."""
        self._model = self._model or _text(chunk.get("model"))
        self._id = self._id or _text(chunk.get("id"))
        if (fingerprint := chunk.get("system_fingerprint")) != self._system_fingerprint:
            self._system_fingerprint = _text(fingerprint) or self._system_fingerprint
        choices = chunk.get("choices")
        for place, choice in enumerate(choices if isinstance(choices, list) else ()):
            if isinstance(choice, dict):
                index = read_index(choice.get("index"), place)
                draft = self._choices.get(index)
                if draft is None:
                    if len(self._choices) == MAX_CHOICES:
                        self._json.is_exact = False
                        continue
                    draft = self._choices[index] = _ChoiceDraft()
                draft.add(choice)
                self._take_usage(choice)
        vendor = chunk.get("x_groq")
        if isinstance(vendor, dict):
            self._take_usage(vendor)
        self._take_usage(chunk)

    def finish(self) -> Completion:
        """Give the completion as far as it came."""
        replies = tuple(self._choices[index].settle(index) for index in sorted(self._choices))
        flags = set(reply_flags(replies))
        if not self._has_done and (not replies or Flag.NO_FINISH_REASON in flags):
            flags.add(Flag.STREAM_UNFINISHED)
        if not self._json.is_exact:
            flags.add(Flag.RESPONSE_NOT_JSON)
        return Completion(
            replies=replies,
            usage=None if self._usage is None else json_text.dumps(self._usage),
            served_model=self._model,
            upstream_id=self._id,
            system_fingerprint=self._system_fingerprint,
            error=self._error,
            flags=frozenset(flags),
        )

    def _take_usage(self, holder: dict[str, Any]) -> None:
        usage = holder.get("usage")
        if isinstance(usage, dict):
            self._usage = usage


class _ChoiceDraft:
    """One choice while its deltas arrive."""

    def __init__(self) -> None:
        self._message = MessageDraft()
        self._is_empty = True
        self._finish_reason: str | None = None
        self._logprobs: dict[str, Any] | None = None

    def add(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            # Some servers answer a stream request with whole messages; after deltas such a message only repeats them.
            delta = choice.get("message") if self._is_empty else None
        if delta is None and isinstance(choice.get("text"), str):
            delta = {"content": choice["text"]}  # a text completion
        if isinstance(delta, dict) and delta:
            self._is_empty = False
            self._message.add(delta)
        if (finish_reason := choice.get("finish_reason")) is not None:
            self._finish_reason = _text(finish_reason) or self._finish_reason
        if (logprobs := choice.get("logprobs")) is not None and isinstance(logprobs, dict):
            self._add_logprobs(logprobs)

    def settle(self, index: int) -> Reply:
        message = json_text.dumps(self._message.settle())
        return Reply(index, message, self._finish_reason, self._settled_logprobs())

    def _add_logprobs(self, logprobs: dict[str, Any]) -> None:
        if self._logprobs is None:
            self._logprobs = {}
        for name, value in logprobs.items():
            known = self._logprobs.get(name)
            if isinstance(known, list) and isinstance(value, list):
                known.extend(value)
            elif value is not None or name not in self._logprobs:
                self._logprobs[name] = value

    def _settled_logprobs(self) -> JsonText | None:
        return None if self._logprobs is None else json_text.dumps(self._logprobs)


def carried_text(chunk: dict[str, Any]) -> str | None:
    """Give the text by which a chunk makes one message grow, if taking it twice would change nothing else.

    All else in it must be set once, replaced by its like, or empty; see `proxy.assembly.text_run`.
    """
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    if not isinstance(choice, dict) or choice.get("logprobs") is not None:
        return None
    if chunk.get("error") or chunk.get("object") == "error":
        return None
    delta = choice.get("delta")
    if delta is None and choice.get("message") is None:
        delta = {"content": choice.get("text")}
    if not isinstance(delta, dict) or not isinstance(delta.get("role", ""), str | None):
        return None
    growing = [(name, value) for name, value in delta.items() if name != "role" and value not in _EMPTY]
    if len(growing) != 1:
        return None
    name, value = growing[0]
    return _carried_arguments(value) if name == "tool_calls" else value if type(value) is str else None


def _carried_arguments(fragments: JsonValue) -> str | None:
    fragment = fragments[0] if isinstance(fragments, list) and len(fragments) == 1 else None
    if not isinstance(fragment, dict) or type(fragment.get("index")) is not int:
        return None
    function = fragment.get("function")
    names = {name for name, value in fragment.items() if value is not None}
    if not isinstance(function, dict) or not names <= {"index", "function"} or function.keys() != {"arguments"}:
        return None
    arguments = function["arguments"]
    return arguments if type(arguments) is str else None


def _text(value: JsonValue) -> str | None:
    return encodable(value) or None if isinstance(value, str) else None
