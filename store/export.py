"""Export lines: traces as JSON lines, put together from the very texts that are stored.

Nothing is parsed and written anew on the way, so a value comes out as it came in. The line separators U+2028 and U+2029
are written as escapes: they are data, but some readers take them for the end of a line.
"""

import errno
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from uuid import uuid4

from store import json_text
from store.data_files import TRACES_FILE, WORK_FILE
from store.feedback import Feedback, feedback_list_json
from store.trace import ORIGIN_FLAGS, JsonText, Reply, Trace

_LINE_SEPARATORS = ((b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"))


class ExportFormat(StrEnum):
    """What a line holds beside `messages`, `tools`, `response_format` and `metadata`."""

    TRACES = "traces"
    """Nothing more: the lines `tracemill process --traces` reads."""
    OPENAI = "openai"
    """`parallel_tool_calls` where the request had it, as OpenAI's fine-tuning files do."""


def export_lines(trace: Trace, export_format: ExportFormat, feedback: Sequence[Feedback] = ()) -> list[bytes]:
    r"""Give the lines of one trace, each ending in `\n`: one per choice, or one without a reply when there is none.

    `metadata` names the trace, the choice where there are several, and for an incomplete trace its outcome and flags.
    The reply is the last message. Legacy `functions` stand under their own name: their shape is not that of `tools`.
    `metadata.feedback` is what counts of the given feedback for the whole trace, a message, or this choice.
    """
    return [_line(trace, reply, export_format, feedback) for reply in trace.replies or (None,)]


async def export(
    traces: AsyncIterator[tuple[Trace, Sequence[Feedback]]], export_format: ExportFormat, *, include_incomplete: bool
) -> AsyncIterator[bytes]:
    """Give the lines of many traces in their order, holding one trace at a time.

    Args:
        traces: What to export, each with its feedback (`store.feedback.along`); calls kept as metadata only have
            nothing to export and give no line.
        export_format: What a line holds.
        include_incomplete: Whether traces that are not whole are exported too.
    """
    async for trace, feedback in traces:
        if trace.is_complete or (include_incomplete and (trace.messages or trace.replies)):
            for line in export_lines(trace, export_format, feedback):
                yield line


def _line(trace: Trace, reply: Reply | None, export_format: ExportFormat, feedback: Sequence[Feedback]) -> bytes:
    messages = list(trace.messages)
    if reply is not None:
        messages.append(_as_assistant(reply.message))
    if export_format is ExportFormat.OPENAI:
        messages = [_without_verbatim(message) for message in messages]
    fields: list[tuple[bytes, JsonText | None]] = [(b"messages", b"[" + b",".join(messages) + b"]")]
    fields.append((b"tools", trace.tools))
    if trace.tools is None:
        fields.append((b"functions", _parameter(trace, "functions", (b"[",))))
    if export_format is ExportFormat.OPENAI:
        fields.append((b"parallel_tool_calls", _parameter(trace, "parallel_tool_calls", (b"true", b"false"))))
    fields += [(b"response_format", trace.response_format), (b"metadata", _metadata(trace, reply, feedback))]
    line = b"{" + b",".join(b'"' + name + b'":' + text for name, text in fields if text is not None) + b"}\n"
    for separator, escape in _LINE_SEPARATORS:
        line = line.replace(separator, escape)
    return line


def _as_assistant(message: JsonText) -> JsonText:
    """Name the role of a reply whose server left it out: no other role can stand there."""
    members = dict(json_text.members(message))
    if members.get("role", b"null") not in (b"null", b'""'):
        return message
    return _object([("role", b'"assistant"'), *((name, value) for name, value in members.items() if name != "role")])


def _without_verbatim(message: JsonText) -> JsonText:
    """Leave out what another dialect's message was before it was put into chat form: trainers know no such field."""
    if b'"verbatim"' not in message:
        return message
    return _object((name, value) for name, value in json_text.members(message) if name != "verbatim")


def _object(members: Iterable[tuple[str, JsonText]]) -> JsonText:
    return b"{" + b",".join(json_text.dumps(name) + b":" + value for name, value in members) + b"}"


def _parameter(trace: Trace, name: str, starts: tuple[bytes, ...]) -> JsonText | None:
    if b'"' + name.encode() + b'"' not in trace.parameters:
        return None
    value = dict(json_text.members(trace.parameters)).get(name, b"")
    return value if value.startswith(starts) else None


def _metadata(trace: Trace, reply: Reply | None, feedback: Sequence[Feedback]) -> JsonText:
    fields: dict[str, str | int | list[str]] = {"trace_id": str(trace.id)}
    if reply is not None and len(trace.replies) > 1:
        fields["choice"] = reply.index
    if not trace.is_complete:
        fields |= {"outcome": trace.outcome.value, "flags": sorted(trace.flags - ORIGIN_FLAGS)}
    text = json_text.dumps(fields)
    said = [each for each in feedback if each.given.choice is None or (reply and each.given.choice == reply.index)]
    return text if not said else text[:-1] + b',"feedback":' + feedback_list_json(said) + b"}"


_DATABASES = (TRACES_FILE, WORK_FILE)
_OWN_NAMES = frozenset({"journal", "raw", "key-salt", "proxy-keys.json", "ingest-settings.json", "otlp-position"})
_DEPTH = 3
"""A segment stands in the folder of its writer, which stands in `journal`."""


class ExportFile:
    """A file that appears whole or not at all: written under a temporary name beside it, synced, then renamed.

    Use as a context manager; leaving it by an error removes what was written and touches no older file of that name.
    A link is followed. What is no file, such as a pipe or `/dev/null`, is written to as it stands.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path))
        self._temporary: Path | None = None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Begin the file.

        Raises:
            OSError: The path is a folder, or its folder is missing or may not be written to, or the file is one that
                Tracemill itself lives on.
        """
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))
        if is_of_data_directory(self._path):
            raise FileExistsError(errno.EEXIST, "it belongs to a data directory; choose another name", str(self._path))
        if self._path.exists() and not self._path.is_file():
            self._file = self._path.open("wb")
        else:
            self._temporary = self._path.with_name(f".tracemill-export-{uuid4().hex[:8]}.tmp")
            self._file = os.fdopen(os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        return self

    def write(self, line: bytes) -> None:
        """Write one line."""
        assert self._file is not None, "an ExportFile is written to inside its `with` block"  # noqa: S101
        self._file.write(line)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Put the file in its place, or remove it after an error."""
        if self._file is None:
            return
        try:
            with self._file as file:
                if kind is None and self._temporary is not None:
                    file.flush()
                    os.fsync(file.fileno())
            if kind is None and self._temporary is not None:
                self._temporary.replace(self._path)
                _sync_folder(self._path.parent)
        finally:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)


def is_of_data_directory(path: Path) -> bool:
    """Whether a file is one of those that make up a data directory; other files may stand beside them."""
    for folder in list(path.parents)[:_DEPTH]:
        name = path.relative_to(folder).parts[0]
        if (folder / "key-salt").exists() or any((folder / database).exists() for database in _DATABASES):
            return name in _OWN_NAMES or name.startswith(_DATABASES)
    return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
