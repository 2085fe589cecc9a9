"""A test set that the person brought: used as it is, and kept away from train."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from processing.convert import example_id
from processing.errors import InputError
from processing.example import Example
from store import json_text
from store.recorded.errors import LineError, MessageFormError
from store.recorded.line import load_line
from store.recorded.message import Json, Message
from store.recorded.message_form import read_messages
from store.recorded.source_value import read_tools


@dataclass(frozen=True, slots=True)
class Curated:
    """A test set of the person's own.

    Attributes:
        name: Its file name.
        lines: The rows as they are written out: the very lines of a JSON Lines file, objects for those of a CSV file.
        examples: The same rows to compare train with; not one is changed.
    """

    name: str
    lines: tuple[bytes, ...]
    examples: tuple[Example, ...]


def load(path: Path) -> Curated:
    """Read `test.jsonl` or `test.csv`: rows with `messages`, or with `question`, `answer` and maybe `context`.

    Raises:
        InputError: The file cannot be read, is empty, or a row has neither form. A test set is never thinned in
            silence, so the first bad row stops.
    """
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise InputError(path.name, f"cannot be read: {exc.strerror}.") from exc
    lines = _from_csv(raw, path.name) if path.suffix == ".csv" else _from_jsonl(raw)
    if not lines:
        raise InputError(path.name, "holds no rows. Leave the file out to have a test set drawn from the traces.")
    examples = tuple(read_example(line, number, path.name) for number, line in lines)
    return Curated(path.name, tuple(line for _, line in lines), examples)


def _from_jsonl(raw: bytes) -> list[tuple[int, bytes]]:
    lines = raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [(number, line.rstrip(b"\r")) for number, line in enumerate(lines, 1) if line.strip()]


def _from_csv(raw: bytes, name: str) -> list[tuple[int, bytes]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InputError(name, f"byte {exc.start} is not UTF-8.") from exc
    # A cell may hold a whole conversation; the module's own bound is 128 KiB.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = next(reader, [])
        if len(set(names)) < len(names):
            raise InputError(name, f"has two columns of one name: {', '.join(names)}.", line=1)
        return [(reader.line_num, json_text.dumps(_cells(names, row, name, reader.line_num))) for row in reader if row]
    except csv.Error as exc:
        raise InputError(name, f"is not CSV: {exc}.", line=reader.line_num) from exc


def _cells(names: list[str], row: list[str], source: str, line: int) -> dict[str, Json]:
    """A CSV row as an object; `messages` and `tools` hold JSON, all other cells are text."""
    if len(row) != len(names):
        raise InputError(
            source, f"the row has {len(row)} cells and the header {len(names)}. Put quotes round commas.", line=line
        )
    cells: dict[str, Json] = dict(zip(names, row, strict=True))
    for column in ("messages", "tools"):
        if cells.get(column):
            try:
                cells[column] = json_text.loads(cells[column].encode())
            except ValueError as exc:
                raise InputError(source, f"{column} is not JSON.", line=line) from exc
    return cells


def read_example(line: bytes, number: int, name: str) -> Example:
    """Read one row of a test set. Raises InputError for the first thing that is wrong with it."""
    try:
        row = load_line(line)
        if isinstance(row.get("messages"), list):
            messages = read_messages(row["messages"]).messages
        elif isinstance(row.get("question"), str) and row.get("answer") not in (None, ""):
            answer = row["answer"] if isinstance(row["answer"], str) else json_text.dumps(row["answer"]).decode()
            messages = (Message("user", row["question"]), Message("assistant", answer))
        else:
            raise InputError(name, 'a test row needs "messages", or a "question" and an "answer".', line=number)
        tools = read_tools(row.get("tools") or None)
    except (LineError, MessageFormError) as exc:
        raise InputError(name, f"{exc}.", line=number) from exc
    targets = [position for position, message in enumerate(messages) if message.role == "assistant"]
    if not targets:
        raise InputError(name, "the row has no assistant message to test against.", line=number)
    identity = example_id(messages, tools, row.get("response_format"))
    return Example(
        id=f"{identity}-{number}",
        conversation_id=f"{name}:{number}",
        group=f"{name}:{number}",
        messages=messages,
        targets=(targets[-1],),
        source=f"{name}:{number}",
        tools=tools,
        response_format=row.get("response_format"),
    )
