"""The self-check of the databases: each fault is made, and seen named."""

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from store import finding
from store.body import Packer
from store.capture_check import check_capture
from store.database_check import check_database, view
from store.finding import GROUPS, KINDS, Finding, Severity
from store.gap import gap_of, gap_sentences, gaps_between
from store.lock_holder import lock_holder
from store.schema_version import TRACES
from store.trace import DeadLetter, Reply
from store.traces import TraceWriter
from store.unchanged_view import unchanged_view
from store.verify import Verification, verify
from tests.folder_state import folder_state
from tests.store.test_traces import growing_chat
from tests.store.traces import make_trace

LONG = json.dumps({"role": "user", "content": ["x" * 20_000, "y"]}, separators=(",", ":")).encode()


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A database at rest with a chat of three turns and a message with a long string."""
    file = tmp_path / "traces.db"
    odd = make_trace(50, messages=(LONG,), replies=(Reply(0, b"[1]", None, b'{"a":1}'),), tags={"t": "v"})
    async with await TraceWriter.open(file) as writer:
        await writer.write([*growing_chat(3), odd])
    return file


LOOK = """
import sys
from pathlib import Path
from store.database_check import check_database, view
from store.schema_version import TRACES
from store.verify import verify
path = Path(sys.argv[1])
(found,) = check_database(path, TRACES)
done = view(path, lambda connection: verify(connection, lambda _done, _total: None))
print(found.kind.name, done.traces, found.facts["log_bytes"], found.facts["log_pages_waiting"])
"""


def names(found: list[Finding]) -> list[str]:
    return [each.kind.name for each in found]


def change(path: Path, sql: str, *parameters: object) -> None:
    """Change a row as a hand or a disk would, past all checks."""
    connection = sqlite3.connect(path, isolation_level=None)
    assert connection.execute(sql, parameters).rowcount > 0
    connection.close()


def verified(path: Path) -> Verification:
    return view(path, lambda connection: verify(connection, lambda _done, _total: None))


def test_every_kind_says_what_it_means_and_whatever_is_wrong_what_mends_it() -> None:
    assert len(KINDS) > 40
    for name, kind in KINDS.items():
        assert (kind.name, kind.group in GROUPS) == (name, True)
        assert kind.meaning.endswith(".")
        if kind.severity in (Severity.WARNING, Severity.ERROR):
            assert kind.remedy.endswith(".")


def test_a_database_that_is_well_is_told_with_its_version(path: Path) -> None:
    for is_thorough in (False, True):
        (found,) = check_database(path, TRACES, is_thorough=is_thorough)
        assert found.kind is finding.DATABASE
        assert found.facts["schema_version"] == TRACES.version


async def test_looking_changes_no_byte_and_no_time_also_beside_a_writer_and_after_a_killed_one(path: Path) -> None:
    async with await TraceWriter.open(path) as writer:
        await writer.write([make_trace(60)])
        before = folder_state(path.parent)
        # From a process of its own, as the command is: in one process SQLite shares a writer's index of the log.
        seen = subprocess.run([sys.executable, "-c", LOOK, path], check=True, capture_output=True, text=True).stdout
        assert folder_state(path.parent) == before
    assert seen.split()[:2] == ["database", "5"]
    assert all(int(number) > 0 for number in seen.split()[2:])
    at_rest = folder_state(path.parent)
    assert len(at_rest) == 3, "folder, database, lock"
    check_database(path, TRACES, is_thorough=True)
    assert verified(path).traces == 5
    assert folder_state(path.parent) == at_rest
    kill_a_writer(path)
    killed = folder_state(path.parent)
    assert names(check_database(path, TRACES)) == ["database"]
    with unchanged_view(path) as connection:
        assert connection.execute("SELECT count(*) FROM tags").fetchone()[0] == 2, "what stands in the log is seen"
    assert folder_state(path.parent) == killed


def kill_a_writer(path: Path) -> None:
    """Leave a log behind that nobody took in."""
    program = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA journal_mode = WAL')\n"
        "c.execute(\"INSERT INTO tags VALUES ((SELECT number FROM traces LIMIT 1), x'61', 9, x'62')\")\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True)
    assert path.with_name(path.name + "-wal").stat().st_size > 0


def test_a_log_without_its_index_is_said_and_left_alone(path: Path) -> None:
    kill_a_writer(path)
    path.with_name(path.name + "-shm").unlink()
    before = folder_state(path.parent)
    assert names(check_database(path, TRACES)) == ["log_orphaned", "database"]
    assert folder_state(path.parent) == before


def test_what_is_no_database_of_ours_is_named_and_left_alone(path: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"not a database at all, " * 100)
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()
    empty = tmp_path / "empty"
    empty.touch()
    before = folder_state(tmp_path)
    assert names(check_database(text, TRACES)) == ["database_foreign"]
    assert names(check_database(other, TRACES)) == ["database_foreign"]
    assert names(check_database(empty, TRACES)) == ["database_missing"]
    assert names(check_database(tmp_path / "none", TRACES)) == ["database_missing"]
    assert folder_state(tmp_path) == before
    assert path.exists()


def test_a_schema_of_another_version_is_named_and_left_alone(path: Path) -> None:
    for version, expected in ((TRACES.version + 1, "schema_newer"), (TRACES.version - 1, "schema_older")):
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA user_version = {version}")
        connection.close()
        before = folder_state(path.parent)
        (found,) = check_database(path, TRACES)
        assert (found.kind.name, str(version) in found.what) == (expected, True)
        assert folder_state(path.parent) == before


def test_a_total_that_is_not_the_sum_of_its_rows_is_found(path: Path) -> None:
    change(path, "UPDATE totals SET nodes = nodes + 1")
    assert verified(path).mismatches == ["the total of messages (10 instead of 9)"]


def test_a_cut_or_overwritten_file_is_damaged(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 // 4096 * 4096])
    assert names(check_database(path, TRACES)) == ["database_damaged"]
    path.write_bytes(whole[:8192] + b"\xa5" * 8192 + whole[16384:])
    assert names(check_database(path, TRACES)) == ["database_damaged"]


def test_every_stored_id_is_derived_again(path: Path) -> None:
    seen: list[tuple[int, int]] = []
    done = view(path, lambda connection: verify(connection, lambda *progress: seen.append(progress)))
    (found,) = done.findings()
    assert found.kind is finding.VERIFIED
    assert (done.messages, done.traces) == (9, 4)
    assert done.blobs == 3
    assert seen[-1] == (16, 16)


@pytest.mark.parametrize("is_root", [True, False])
def test_one_flipped_byte_in_a_text_is_found_by_its_id(path: Path, is_root: bool) -> None:
    connection = sqlite3.connect(path)
    find = "SELECT id, body FROM nodes WHERE (parent IS NULL) = ? LIMIT 1"
    node, body = connection.execute(find, (is_root,)).fetchone()
    connection.close()
    assert node is not None
    for at in (len(body) // 2, 0):
        flipped = body[:at] + bytes([body[at] ^ 4]) + body[at + 1 :]
        change(path, "UPDATE nodes SET body = ? WHERE id = ?", flipped, node)
        done = verified(path)
        assert done.wrong == 1
        assert node.hex() in done.mismatches[0]
        assert [each.kind.name for each in done.findings()] == ["id_mismatch"]


def test_another_text_of_the_same_size_is_found_and_not_told(path: Path) -> None:
    text = b'{"role":"user","content":"sesame"}'
    change(path, "UPDATE nodes SET body = ?, body_bytes = ? WHERE parent IS NULL", Packer().pack(text), len(text))
    (found,) = verified(path).findings()
    assert found.kind is finding.ID_MISMATCH
    assert "sesame" not in json.dumps(found.to_json())


@pytest.mark.parametrize("column", ["stitch_key", "role"])
def test_a_wrong_key_or_role_is_found(path: Path, column: str) -> None:
    change(path, "UPDATE nodes SET column = x'00' WHERE parent IS NULL".replace("column", column))
    done = verified(path)
    assert done.wrong >= 1
    assert column.replace("_", " ") in " ".join(done.mismatches)


def test_a_changed_value_is_found_and_with_it_the_message_that_it_stands_in(path: Path) -> None:
    long = Packer().pack(b"z" * 20_000)
    change(path, "UPDATE blobs SET body = ? WHERE body_bytes = 20000", long)
    done = verified(path)
    assert sorted(sentence.split()[0] for sentence in done.mismatches) == ["message", "value"]


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("DELETE FROM nodes WHERE parent IS NULL AND body_bytes < 20000", "parent"),
        ("DELETE FROM nodes WHERE number = (SELECT node FROM replies LIMIT 1)", "reply that is not there"),
        ("DELETE FROM nodes WHERE body_bytes > 20000", "request that is not there"),
        (
            "DELETE FROM blobs WHERE number = (SELECT parameters_blob FROM traces LIMIT 1)",
            "of traces point at a row of blobs",
        ),
        (
            "DELETE FROM blobs WHERE number = (SELECT logprobs_blob FROM replies WHERE logprobs_blob NOT NULL)",
            "of replies",
        ),
        ("DELETE FROM traces WHERE number = (SELECT trace FROM tags)", "of tags points at a row of traces"),
        ("UPDATE replies SET node = (SELECT number FROM nodes WHERE parent IS NULL LIMIT 1)", "does not follow"),
    ],
)
def test_a_reference_to_nothing_is_found(path: Path, sql: str, word: str) -> None:
    change(path, sql)
    done = verified(path)
    assert done.missing >= 1
    assert word in " ".join(done.dangling)
    assert "reference_missing" in names(list(done.findings()))


def gap(number: int, **fields: object) -> DeadLetter:
    meta = {"reason": "journal_backlog", "count": 3, "from": 1_760_000_000.0, "to": 1_760_000_009.0, "writer": "w"}
    return DeadLetter("gap", "…", json.dumps({**meta, **fields}).encode(), UUID(int=number))


async def test_dead_letters_gaps_and_a_trace_of_tomorrow_are_told(path: Path) -> None:
    async with await TraceWriter.open(path) as writer:
        letters = [DeadLetter("torn", "d", b"x"), DeadLetter("torn", "d", b"y"), DeadLetter("derive_failed", "d", b"z")]
        bodies = gap(3, reason="journal_backlog_body", count=1)
        await writer.write([], [*letters, gap(1), gap(2, to=1_760_000_020.0, count=4), bodies], [])
    calm = view(path, check_capture)
    assert names(calm) == ["dead_letters", "gaps"]
    assert calm[0].what == "3 dead letters: 1 derive_failed, 2 torn."
    assert calm[1].facts["by_reason"] == {"journal_backlog": 7, "journal_backlog_body": 1}
    assert calm[1].what == (
        "7 calls were not recorded between 2025-10-09 08:53:20 and 2025-10-09 08:53:40 UTC (journal_backlog); "
        "1 body was not recorded between 2025-10-09 08:53:20 and 2025-10-09 08:53:29 UTC (journal_backlog_body)."
    )
    before = datetime(2025, 12, 31, tzinfo=UTC).timestamp()
    (late,) = [each for each in view(path, lambda connection: check_capture(connection, before)) if each not in calm]
    assert late.kind is finding.CLOCK_BEHIND


async def test_gaps_of_a_stretch_of_time_are_those_that_touch_it(path: Path) -> None:
    async with await TraceWriter.open(path) as writer:
        await writer.write([], [gap(1), gap(2, **{"from": 1_770_000_000.0, "to": 1_770_000_001.0})], [])
    middle = datetime.fromtimestamp(1_765_000_000, UTC)
    assert [each.first_at.year for each in gaps_between(path, None, None)] == [2025, 2026]
    assert [each.first_at.year for each in gaps_between(path, middle, None)] == [2026]
    assert [each.first_at.year for each in gaps_between(path, None, middle)] == [2025]
    assert gap_sentences([]) == []


@pytest.mark.parametrize("body", [b"[]", b"{}", b"x", b'{"reason":1,"count":"x","from":1,"to":2,"writer":3}'])
def test_what_is_no_gap_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        gap_of(body)


def test_the_holder_of_a_lock_is_told_and_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock_holder(path) == (False, None)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    assert lock_holder(path) == (False, None)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert lock_holder(path) == (True, os.getpid())
    os.close(descriptor)
    assert lock_holder(path) == (False, None)
