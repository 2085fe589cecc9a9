"""Where calls are redacted, nothing raw is kept: no bytes of dead letters, and no call that could not be redacted."""

import asyncio
from pathlib import Path

from proxy.ingest.ingest import run_ingest
from proxy.journal.format import EntryKind
from proxy.journal.writer import JOURNAL_FOLDER
from proxy.redaction.redactor import Redactor
from store.uuid7 import uuid7
from tests.proxy.ingest.test_ingest import END, dead_letters, journal_in, stored_ids, write_call
from tests.proxy.redaction.redactors import redactor

SECRET = "sk-proj-Ab3dEf6hIj9lMn2pQr5tUv8xYz1B"


async def run_once(data_dir: Path, chosen: Redactor | None) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(run_ingest(data_dir, stop, max_decoded_bytes=1 << 24, redactor=chosen))
    await asyncio.sleep(0)
    stop.set()
    await task


async def write_oddities(data_dir: Path) -> None:
    """Leave a call, an orphan and a stretch of damage, all with the secret in them."""
    async with journal_in(data_dir) as journal:
        await write_call(journal, f"my key is {SECRET}")
        await journal.append(EntryKind.END, uuid7(), END, f"orphan {SECRET}".encode())
    (segment,) = (data_dir / JOURNAL_FOLDER).rglob("*.seg")
    with segment.open("ab") as file:
        file.write(f"torn {SECRET}".encode())


async def test_dead_letters_keep_their_reason_and_no_bytes(tmp_path: Path) -> None:
    await write_oddities(tmp_path)
    await run_once(tmp_path, redactor())
    letters = await dead_letters(tmp_path)
    assert {letter.reason for letter in letters} == {"orphan", "torn"}
    assert [letter.body for letter in letters] == [b"", b""]
    assert len(await stored_ids(tmp_path)) == 1
    held = [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert held == []


async def test_without_redaction_dead_letters_keep_their_bytes(tmp_path: Path) -> None:
    await write_oddities(tmp_path)
    await run_once(tmp_path, None)
    assert all(SECRET.encode() in letter.body for letter in await dead_letters(tmp_path))


async def test_a_call_that_cannot_be_redacted_is_not_stored_as_it_came(tmp_path: Path) -> None:
    """`Finder` fails on a category it has no search for, as a mistake of ours would."""
    broken = redactor(["email", "no such category"])  # type: ignore[list-item]
    async with journal_in(tmp_path) as journal:
        await write_call(journal, "mail \\u006aane@example.com")
    await run_once(tmp_path, broken)
    assert await stored_ids(tmp_path) == []
    (letter,) = await dead_letters(tmp_path)
    assert (letter.reason, letter.body) == ("derive_failed", b"")
    assert "jane" not in letter.detail
