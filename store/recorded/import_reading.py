"""Reading files of recorded calls into traces, line by line, with an account of every line.

The counts always add up: `records == traces + joined + rejected`, over all files. Nothing is held but a line, so files
may be of any size.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

from store import json_text
from store.json_text import JsonTextError
from store.recorded.errors import LineError, RejectReason
from store.recorded.file_lines import MAX_LINE_BYTES, FileLine, file_lines
from store.recorded.imported_trace import join_choices, make_trace
from store.recorded.line import load_line
from store.recorded.message import Json
from store.recorded.source_call import SourceCall
from store.recorded.source_format import SourceFormat, guess_format, read_record, records_of
from store.trace import Trace

_CUT_FORMATS: Final = (
    SourceFormat.TRACES,
    SourceFormat.OPENAI_MESSAGES,
    SourceFormat.OPENAI_MESSAGES_WITH_IMAGES,
)
"""Formats whose lines are in chat form, so that traces are cut out of them."""
_MICROSECOND: Final = timedelta(microseconds=1)


class Rejected(NamedTuple):
    """A record that could not be read.

    Attributes:
        source: Name of the file.
        line: Number of the line, from 1.
        reason: Of the closed list.
        detail: One sentence for a person; holds no message content.
        text: The line, or where it held several records the one; of a line that is too long its beginning.
    """

    source: str
    line: int
    reason: RejectReason
    detail: str
    text: bytes

    def to_json(self) -> bytes:
        """Give the line of `rejected.jsonl`; bytes that are not UTF-8 stand there as U+FFFD."""
        fields = {
            "source": self.source,
            "line": self.line,
            "reason": self.reason.value,
            "detail": self.detail,
            "text": self.text.decode("utf-8", "replace"),
        }
        return json_text.dumps(fields) + b"\n"


Read: TypeAlias = Trace | Rejected


@dataclass
class FileCounts:
    """What one file held.

    Attributes:
        lines: All, blank ones too.
        records: What the lines held: one each for most, several for some formats, none for a blank line.
        traces: Records that became a trace.
        joined: Lines of our own export that were one trace with the line before: it has several replies.
        rejected: Records that could not be read, by reason.
        formats: Records by their format.
    """

    source: str
    lines: int = 0
    blank: int = 0
    records: int = 0
    traces: int = 0
    joined: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """Give all counts by name."""
        return {
            "source": self.source,
            "lines": self.lines,
            "blank": self.blank,
            "records": self.records,
            "traces": self.traces,
            "joined": self.joined,
            "rejected": dict(sorted(self.rejected.items())),
            "formats": dict(sorted(self.formats.items())),
        }


class ImportReader:
    """Reads files, one after the other, and counts."""

    def __init__(
        self,
        source_format: SourceFormat | None = None,
        *,
        imported_at: datetime | None = None,
        tags: Mapping[str, str] | None = None,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        """Begin.

        Args:
            source_format: How all lines are to be read; None decides line by line.
            imported_at: Stands in for the time of a call whose source tells none, a microsecond more for each.
            tags: To be added to every trace.
            max_line_bytes: Longer lines are rejected.
        """
        self.files: list[FileCounts] = []
        self._format = source_format
        self._time = imported_at or datetime.now(UTC)
        self._tags = dict(tags or {})
        self._max_line_bytes = max_line_bytes

    def read(self, blocks: Iterable[bytes], source: str) -> Iterator[Read]:
        """Read a file to its end; give each trace and each record that could not be read, in their order.

        Args:
            blocks: The file's bytes, in pieces of any size; plain, gzip or zstd.
            source: Its name, for messages.
        """
        counts = FileCounts(source)
        self.files.append(counts)
        # Lines of one trace with several replies stand together in an export.
        held: Trace | None = None
        for line in file_lines(blocks, max_line_bytes=self._max_line_bytes):
            counts.lines += 1
            for read, has_choice in self._read_line(line, counts):
                if isinstance(read, Rejected):
                    counts.rejected[read.reason.value] += 1
                    yield read
                    continue
                if held is not None and has_choice and held.id == read.id:
                    counts.joined += 1
                    held = join_choices(held, read)
                    continue
                if held is not None:
                    yield held
                counts.traces += 1
                held = read if has_choice else None
                if held is None:
                    yield read
        if held is not None:
            yield held

    def _read_line(self, line: FileLine, counts: FileCounts) -> Iterator[tuple[Read, bool]]:
        """Give what a line holds, and whether it is one reply of several of its trace."""
        if line.fault is None and not line.text.strip():
            counts.blank += 1
            return
        try:
            if line.fault is not None:
                raise line.fault
            value = load_line(line.text)
            source_format = self._format or guess_format(value)
            records = records_of(value, source_format)
        except LineError as exc:
            counts.records += 1
            yield Rejected(counts.source, line.number, exc.reason, exc.detail, line.text), False
            return
        for record in records:
            counts.records += 1
            counts.formats[source_format.value] += 1
            try:
                call = read_record(record, source_format)
                yield self._make_trace(call, source_format, line.text), call.choice is not None
            except LineError as exc:
                text = line.text if len(records) == 1 else _text_of(record)
                yield Rejected(counts.source, line.number, exc.reason, exc.detail, text), False

    def _make_trace(self, call: SourceCall, source_format: SourceFormat, line: bytes) -> Trace:
        self._time += _MICROSECOND
        if source_format in _CUT_FORMATS:
            try:
                return make_trace(call, source_format.value, self._time, self._tags, line)
            except JsonTextError:
                pass  # something that JSON does not have, such as NaN: `load_line` made text of it
        return make_trace(call, source_format.value, self._time, self._tags)


def _text_of(record: Mapping[str, Json]) -> bytes:
    return json.dumps(record).encode()
