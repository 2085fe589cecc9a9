"""Feedback is redacted as the calls are, before it is stored."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from proxy.ingest.ingest import ingest_once
from proxy.journal.change_writer import ChangeWriter
from proxy.journal.writer import JOURNAL_FOLDER
from proxy.redaction.redactor import Redactor
from store.change import Change, ChangeKind, find_change
from store.data_files import TRACES_FILE
from store.feedback import feedback_of
from store.feedback_form import read_feedback, write_request
from store.traces import TraceReader
from store.uuid7 import uuid7
from tests.proxy.redaction.redactors import redactor

ADDRESS = "jane@example.com"


def change(text: str) -> Change:
    body = write_request(UUID(int=1), read_feedback(text.encode()))
    return Change(uuid7(), ChangeKind.FEEDBACK, datetime.now(UTC), "admin", body)


async def given(data_dir: Path, chosen: Redactor | None, *changes: Change) -> list[tuple[str, str | None]]:
    with ChangeWriter(data_dir / JOURNAL_FOLDER) as writer:
        writer.write(*changes)
    await ingest_once(data_dir, max_decoded_bytes=1 << 20, redactor=chosen)
    async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
        found = await reader.look(lambda db: feedback_of(db, UUID(int=1)))
    return [(entry.given.value.decode(), entry.given.by) for entry in found]


@pytest.mark.parametrize(
    "text",
    [
        f'{{"value":"mail {ADDRESS}"}}',
        f'{{"value":{{"role":"assistant","content":"mail {ADDRESS}"}}}}',
        f'{{"value":true,"name":"helpful","by":"{ADDRESS}"}}',
    ],
)
async def test_what_people_write_is_redacted(tmp_path: Path, text: str) -> None:
    ((value, by),) = await given(tmp_path, redactor(), change(text))
    assert "[EMAIL_" in f"{value} {by}"
    assert ADDRESS not in f"{value} {by}"
    held = [path for path in tmp_path.rglob("*") if path.is_file() and ADDRESS.encode() in path.read_bytes()]
    assert held == []


async def test_without_redaction_it_stays_as_it_was_given(tmp_path: Path) -> None:
    assert await given(tmp_path, None, change(f'{{"value":"mail {ADDRESS}","by":"b"}}')) == [(f'"mail {ADDRESS}"', "b")]


async def test_what_cannot_be_redacted_is_not_given_and_stops_nothing(tmp_path: Path) -> None:
    """`Finder` fails on a category it has no search for, as a mistake of ours would."""
    broken = redactor(["email", "no such category"])  # type: ignore[list-item]
    bad, good = change(r'{"value":"mail \u006aane@example.com"}'), change('{"value":1,"name":"score"}')
    assert await given(tmp_path, broken, bad, good) == [("1", "admin")]
    async with await TraceReader.open(tmp_path / TRACES_FILE) as reader:
        record = await reader.look(lambda db: find_change(db, bad.id))
    assert record is not None
    assert record.result == {"error": "trace_id: is missing."}
