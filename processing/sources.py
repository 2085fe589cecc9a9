r"""Where conversations come from: trace files, line by line, and the store.

Lines end at `\n` bytes only; U+2028 and U+2029 are data. A line that cannot be read is kept whole with its reason and
never stops the rest, unless `strict` asks for that. The counts always add up:

    records == conversations + absorbed + duplicates + rejected
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from processing.errors import SourceError
from processing.example import Conversation
from processing.stitching import Stitcher
from processing.stored_call import read_trace
from store.feedback import along
from store.filter import Filter, parse_filter
from store.recorded.call import recorded_calls
from store.recorded.errors import LineError, RejectReason
from store.recorded.line import load_line
from store.recorded.source_format import AUTO, SourceFormat, guess_format, read_record, records_of
from store.trace import Trace
from store.traces import TraceReader

FORMATS: Final = (*(each for each in SourceFormat if each is not SourceFormat.TRACES), AUTO)
_IDS_AT_ONCE = 400
"""A filter holds at most 500 comparisons."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line or trace that could not be read.

    Attributes:
        source: The file or trace, for a person.
        line: Line number from 1; None for a stored trace.
        reason: Why, from a closed list.
        detail: One sentence for a person; holds no message content.
        raw: The line as it came, without its line end; empty for a stored trace, which the store keeps.
    """

    source: str
    line: int | None
    reason: RejectReason
    detail: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Intake:
    """All that a source gave.

    Attributes:
        conversations: Each once, whole.
        rejected: What could not be read.
        records: What the source holds: lines that are not blank, or one per reply where a line or trace has several.
        absorbed: Records that are the beginning of another one.
        duplicates: Records equal to an earlier one.
        trace_ids: The stored traces that were read, in their order; empty for a file.
    """

    conversations: tuple[Conversation, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    records: int = 0
    absorbed: int = 0
    duplicates: int = 0
    trace_ids: tuple[str, ...] = ()

    @property
    def reasons(self) -> dict[str, int]:
        """How many records were rejected for each reason that occurred, by name."""
        return dict(sorted(Counter(str(rejected.reason) for rejected in self.rejected).items()))


@dataclass(slots=True)
class _Reading:
    stitcher: Stitcher = field(default_factory=Stitcher)
    rejected: list[Rejected] = field(default_factory=list)
    trace_ids: list[str] = field(default_factory=list)

    def intake(self) -> Intake:
        stitched = self.stitcher.finish()
        return Intake(
            conversations=stitched.conversations,
            rejected=tuple(self.rejected),
            records=stitched.calls + len(self.rejected),
            absorbed=stitched.absorbed,
            duplicates=stitched.duplicates,
            trace_ids=tuple(self.trace_ids),
        )


def read_traces(path: Path, observation_format: str = "openai_messages", *, strict: bool = False) -> Intake:
    """Read a trace file into conversations.

    Args:
        path: A file of JSON lines.
        observation_format: One of `FORMATS`; `auto` decides line by line from the fields that are there.
        strict: Raise at the first line that cannot be read, instead of counting it.

    Raises:
        SourceError: The file cannot be opened, the format is not known, or `strict` and a bad line.
    """
    try:
        with path.open("rb") as lines:
            return read_lines(lines, str(path.name), observation_format, strict=strict)
    except OSError as exc:
        raise SourceError(f"{path}: cannot be read: {exc.strerror}. Check the path and its permissions.") from exc


def read_lines(
    lines: Iterable[bytes], source: str, observation_format: str = "openai_messages", *, strict: bool = False
) -> Intake:
    r"""Read lines that are already split at `\n` (a binary file gives them so); see `read_traces`.

    Args:
        lines: One JSON object each; blank lines are passed over.
        source: The name to give in messages.
        observation_format: As in `read_traces`.
        strict: As in `read_traces`.

    Raises:
        SourceError: As in `read_traces`.
    """
    check_format(observation_format)
    reading = _Reading()
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip(b"\r\n")
        line = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        if line.strip():
            _take_line(line, number, source, observation_format, reading, strict=strict)
    return reading.intake()


def check_format(observation_format: str) -> None:
    """Refuse a format that cannot be read, before any work is done.

    Raises:
        SourceError: The format is unknown.
    """
    choices = ", ".join(FORMATS)
    if observation_format not in FORMATS:
        raise SourceError(f'observation_format is "{observation_format}"; expected one of: {choices}.')


async def from_store(
    reader: TraceReader, where: Filter | None = None, *, trace_ids: Sequence[str] | None = None
) -> Intake:
    """Read stored traces into conversations, each trace as its own export line would be read.

    Traces that are not whole are read too: they tell that a call failed, and a reply that was cut short stays history.

    Args:
        reader: An open reader; it is not closed.
        where: The selection; None for all.
        trace_ids: Read just these, in place of a selection; those that are gone are passed over.

    Raises:
        StoreError: The store cannot be read.
    """
    reading = _Reading()
    traces = reader.traces(where) if trace_ids is None else _named(reader, trace_ids)
    async for trace, feedback in along(reader, traces):
        reading.trace_ids.append(str(trace.id))
        try:
            for call in read_trace(trace, feedback):
                reading.stitcher.add(call)
        except LineError as exc:
            reading.rejected.append(Rejected(str(trace.id), None, exc.reason, exc.detail, b""))
    return reading.intake()


async def _named(reader: TraceReader, trace_ids: Sequence[str]) -> AsyncIterator[Trace]:
    for start in range(0, len(trace_ids), _IDS_AT_ONCE):
        wanted = parse_filter(f"id in ({', '.join(trace_ids[start : start + _IDS_AT_ONCE])})")
        async for trace in reader.traces(wanted):
            yield trace


def _take_line(
    line: bytes, number: int, source: str, observation_format: str, reading: _Reading, *, strict: bool
) -> None:
    try:
        value = load_line(line)
        found = guess_format(value) if observation_format == AUTO else SourceFormat(observation_format)
        # Our own lines are read as anybody's are: what they say of their trace stays with the conversation.
        found = SourceFormat.OPENAI_MESSAGES if found is SourceFormat.TRACES else found
        records = records_of(value, found)
    except LineError as exc:
        _reject(exc, line, number, source, reading, strict=strict)
        return
    for record in records:
        try:
            for call in recorded_calls(read_record(record, found), f"{source}:{number}"):
                reading.stitcher.add(call)
        except LineError as exc:
            _reject(exc, line, number, source, reading, strict=strict)


def _reject(exc: LineError, line: bytes, number: int, source: str, reading: _Reading, *, strict: bool) -> None:
    if strict:
        raise SourceError(
            f"{source}:{number}: {exc.detail} ({exc.reason}). "
            "Mend the line, or leave out --strict to count it and go on."
        ) from exc
    reading.rejected.append(Rejected(source, number, exc.reason, exc.detail, line))
