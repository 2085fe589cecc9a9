"""The prompts that a dataset is generated from: a text file with one on each line, or JSON Lines.

A line of JSON has a `prompt`, or `messages` that end before the answer; it may have `tools`, a `response_format`, a
`system` prompt and `metadata` of its own. A prompt that stands there twice is asked once.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from processing.datasets.conversation_form import read_conversation, text_of_cell
from processing.datasets.file_blocks import beginning_of, text_blocks
from processing.datasets.json_file import json_records
from processing.datasets.record import Record, RecordFault, RepeatedKeys, failed, failed_line
from processing.datasets.row_form import RowFault, RowFormError, messages_of, row_of
from processing.errors import InputError
from store.recorded.file_lines import file_lines
from store.recorded.message import Json, Message
from store.recorded.message_form import read_messages
from store.recorded.source_value import unwrapped

_JSON_ENDINGS: Final = frozenset({".jsonl", ".ndjson", ".json"})


@dataclass(frozen=True, slots=True)
class PromptItem:
    """One prompt.

    Attributes:
        id: Content-derived: the same prompt has the same id in every file.
        messages: All that stands before the answer.
        place: File and line.
        tools: Tool definitions; None for none.
        response_format: As a request has it; None for none.
        metadata: Kept with every row.
        repeated_key: See `Record`.
    """

    id: str
    messages: tuple[Message, ...]
    place: str
    tools: list[Json] | None = None
    response_format: Json | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    repeated_key: str | None = None


@dataclass(frozen=True, slots=True)
class UnusedPrompt:
    """A line that is not asked.

    Attributes:
        place: File and line.
        reason: From the closed lists of records and rows; `None` where it repeats another.
        detail: For a person; holds no content.
        same_as: Id of the prompt that it repeats.
        repeated_key: See `Record`.
    """

    place: str
    reason: RecordFault | RowFault | None
    detail: str
    same_as: str | None = None
    repeated_key: str | None = None


@dataclass(frozen=True, slots=True)
class Prompts:
    """All prompts of a file.

    Attributes:
        name: Of the file.
        sha256: Of its bytes.
        items: Each once, in order.
        unused: The other lines that are not blank.
        names_traces: Whether one of the lines says which trace it comes from.
        repeated_keys: Lines with a key that stands twice in one object; its last value counts.
    """

    name: str
    sha256: str
    items: tuple[PromptItem, ...]
    unused: tuple[UnusedPrompt, ...]
    names_traces: bool = False
    repeated_keys: RepeatedKeys = field(default_factory=RepeatedKeys)

    def warnings(self) -> list[str]:
        """What to look at before anything is paid."""
        return self.repeated_keys.warnings(len(self.items) + len(self.unused))


@dataclass(frozen=True, slots=True)
class Setting:
    """What all prompts are asked with, unless one has its own.

    Attributes:
        system: System prompt; None for none.
        tools: Tool definitions; None for none.
        response_format: As a request has it; None for none.
    """

    system: str | None = None
    tools: Json = None
    response_format: Json = None


def read_prompts(path: Path, setting: Setting = Setting()) -> Prompts:
    """Read prompts; a line that is none is told with its reason and stops nothing.

    Raises:
        InputError: The file cannot be read, or holds no prompt.
    """
    items: dict[str, PromptItem] = {}
    unused: list[UnusedPrompt] = []
    names_traces = False
    repeated_keys = RepeatedKeys()
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        for record in _records(path):
            if record.value is None:
                unused.append(UnusedPrompt(record.place, record.fault, record.detail or ""))
                continue
            names_traces = names_traces or _names_trace(record.value)
            repeated_keys.take(record)
            try:
                item = replace(_item(record.value, record.place, setting), repeated_key=record.repeated_key)
            except RowFormError as exc:
                unused.append(UnusedPrompt(record.place, exc.reason, exc.detail, None, record.repeated_key))
                continue
            if items.setdefault(item.id, item) is not item:
                detail = f"the same as {items[item.id].place}"
                unused.append(UnusedPrompt(record.place, None, detail, item.id, record.repeated_key))
    except OSError as exc:
        raise InputError(str(path), f"cannot be read: {exc.strerror or exc}.") from exc
    if not items:
        first = f" The first line: {unused[0].place}: {unused[0].detail}." if unused else ""
        raise InputError(path.name, f"holds no prompt; expected one on each line, or JSON with `prompt`.{first}")
    return Prompts(path.name, digest, tuple(items.values()), tuple(unused), names_traces, repeated_keys)


def _names_trace(value: Mapping[str, Json]) -> bool:
    metadata = unwrapped(value.get("metadata"))
    found = metadata if isinstance(metadata, dict) else {}
    return any(found.get(name) for name in ("source_trace_id", "source_trace_ids"))


def _records(path: Path) -> Iterator[Record]:
    suffixes = {suffix.lower() for suffix in path.suffixes}
    if suffixes & _JSON_ENDINGS or beginning_of(path, path.name).lstrip().startswith((b'{"prompt"', b'{"messages"')):
        yield from json_records(path, path.name)
        return
    for line in file_lines(text_blocks(path, path.name)):
        if line.fault is not None:
            yield failed_line(path.name, line.number, line.fault)
        elif line.text.strip():
            try:
                yield Record(path.name, line.number, {"prompt": line.text.decode().strip()})
            except UnicodeDecodeError as exc:
                yield failed(path.name, line.number, RecordFault.NOT_UTF8, f"byte {exc.start} is not UTF-8")


def _item(value: Mapping[str, Json], place: str, setting: Setting) -> PromptItem:
    system = value["system"] if isinstance(value.get("system"), str) else setting.system
    messages = _asked(value, system)
    tools = value.get("tools") if value.get("tools") is not None else setting.tools
    wanted = value.get("response_format") if value.get("response_format") is not None else setting.response_format
    metadata = unwrapped(value.get("metadata"))
    if metadata is not None and not isinstance(metadata, dict):
        raise RowFormError(RowFault.BAD_METADATA, "metadata is not an object")
    # A row with some answer has to be a row with any other: what is wrong with it shows before anything is paid.
    row = row_of(
        [*messages, {"role": "assistant", "content": "."}], tools=tools, response_format=wanted, metadata=metadata
    )
    read = read_messages(row["messages"][:-1]).messages
    return PromptItem(row["row_id"], read, place, row.get("tools"), row.get("response_format"), dict(metadata or {}))


def _asked(value: Mapping[str, Json], system: str | None) -> Sequence[Any]:
    if value.get("messages") is None:
        prompt = value.get("prompt")
        if prompt is None or not text_of_cell(prompt).strip():
            raise RowFormError(RowFault.NO_PROMPT, "there is neither a prompt nor messages")
        conversation = read_conversation(prompt) if isinstance(prompt, list) else None
        if conversation is None:
            return messages_of(text_of_cell(prompt), "", system=system)[:-1]
    else:
        conversation = read_conversation(value["messages"])
    if not conversation:
        raise RowFormError(RowFault.NO_MESSAGES, "there is no array of messages")
    last, first = conversation[-1], conversation[0]
    if isinstance(last, dict) and last.get("role") == "assistant":
        raise RowFormError(RowFault.BAD_MESSAGE, "the last message is the assistant's: nothing is left to answer")
    is_opened = isinstance(first, dict) and first.get("role") in ("system", "developer")
    return conversation if is_opened or not system else [{"role": "system", "content": system}, *conversation]
