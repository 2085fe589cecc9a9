"""What a self-check can find: a closed list, each with how bad it is, what it means and how to mend it.

`docs/doctor.md` is made from this list. A name is stable: scripts may look for it in `tracemill doctor --json`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    """As it should be."""
    INFO = "info"
    """Worth knowing; nothing has to be done."""
    WARNING = "warning"
    """Something is missing, late or less safe than promised; what works goes on working."""
    ERROR = "error"
    """Something does not work, or what is stored cannot be relied on."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One entry of the list.

    Attributes:
        name: Stable.
        meaning: One sentence for the docs page.
        remedy: What to do; empty where nothing is to be done.
    """

    name: str
    group: str
    severity: Severity
    meaning: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in one place.

    Attributes:
        what: One sentence, with the file, number or id that it is about; never a key or message content.
        facts: The same as values, for machines.
    """

    kind: Kind
    what: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "name": self.kind.name,
            "group": self.kind.group,
            "severity": self.kind.severity.value,
            "what": self.what,
            "remedy": self.kind.remedy or None,
            "facts": dict(self.facts),
        }


KINDS: dict[str, Kind] = {}
"""Every kind by name, in the order of the report."""


def _kind(name: str, group: str, severity: Severity, meaning: str, remedy: str = "") -> Kind:
    made = KINDS[name] = Kind(name, group, severity, meaning, remedy)
    return made


_OK, _INFO, _WARNING, _ERROR = Severity.OK, Severity.INFO, Severity.WARNING, Severity.ERROR
GROUPS = ("program", "server", "files", "database", "journal", "capture", "verification")

CHECK_FAILED = _kind(
    "check_failed", "program", _ERROR, "One of the checks could not be made.",
    "Run `tracemill doctor` as the user that runs `tracemill serve`; if it fails again, report the words of this line.",
)  # fmt: skip
VERSIONS = _kind("versions", "program", _OK, "What is running: Tracemill, Python, SQLite and the parts that matter.")
SQLITE_WAL_RESET = _kind(
    "sqlite_wal_reset", "program", _INFO,
    "This SQLite has the WAL-reset bug (3.7.0 to 3.51.2 without the fix of 3.44.6 and 3.50.7): two connections that "
    "write and checkpoint at once can lose commits. Tracemill lets one connection write, so it does not strike here.",
    "Let no other program write to the databases; a Python that brings SQLite 3.51.3 or later removes the bug.",
)  # fmt: skip

SERVER = _kind("server", "server", _OK, "A server runs on this data directory.")
SERVER_STOPPED = _kind("server_stopped", "server", _INFO, "No server runs on this data directory.")
SERVER_UNSEEN = _kind(
    "server_unseen", "server", _INFO,
    "A process writes to the database that is no server of this user and machine: another command, container or user.",
    "Run `tracemill doctor` where and as whom the server runs, to see its settings and counts too.",
)  # fmt: skip
SETTINGS = _kind("settings", "server", _OK, "The settings in force; secrets are told as set or unset.")
SETTINGS_INCOMPLETE = _kind(
    "settings_incomplete", "server", _INFO,
    "File and environment name no upstream, so `tracemill serve` must get it as a flag.",
)  # fmt: skip
SETTINGS_INVALID = _kind(
    "settings_invalid", "server", _ERROR, "`tracemill serve` would refuse the settings of file and environment.",
    "Mend the setting that the sentence names; docs/settings.md lists them all.",
)  # fmt: skip
METRICS_LEFTOVER = _kind(
    "metrics_leftover", "server", _INFO, "Folders of counts are left of servers that were killed.",
    "The next start of `tracemill serve` by the same user removes them.",
)  # fmt: skip

DATA_DIR = _kind("data_dir", "files", _OK, "The data directory and its files are for their owner alone.")
DATA_DIR_MISSING = _kind(
    "data_dir_missing", "files", _ERROR, "There is no data directory at this path.",
    "Name the one that `tracemill serve` uses with --data-dir or TRACEMILL_DATA_DIR; `serve` makes it.",
)  # fmt: skip
OPEN_TO_OTHERS = _kind(
    "open_to_others", "files", _WARNING, "Files or folders can be read or written by other users.",
    "chmod -R go-rwx the data directory.",
)  # fmt: skip
FOREIGN_OWNER = _kind(
    "foreign_owner", "files", _WARNING, "Files do not belong to the owner of the data directory.",
    "chown -R them to the user that runs `tracemill serve`: it cannot write to or delete what is another's.",
)  # fmt: skip
NETWORK_FILESYSTEM = _kind(
    "network_filesystem", "files", _ERROR,
    "The data directory is on a network filesystem, where locks and shared memory do not hold: databases get damaged.",
    "Stop the server, move the data directory to a local disk, and start it there.",
)  # fmt: skip
DISK = _kind("disk", "files", _OK, "The disk has room for the journal's bound.")
DISK_LOW = _kind(
    "disk_low", "files", _WARNING,
    "Less is free on the disk than the journals may need while the database cannot be written (workers x "
    "max_journal_bytes).",
    "Make room, or set max_journal_bytes lower: calls go on when the disk is full, but are not recorded.",
)  # fmt: skip
DISK_FULL = _kind(
    "disk_full", "files", _ERROR, "The disk is full, or nearly: less than 64 MiB or no file can be made.",
    "Make room: calls go on, but they are not recorded, and each is counted as a gap.",
)  # fmt: skip
PROXY_KEYS = _kind("proxy_keys", "files", _OK, "The file of the proxy keys can be read.")
PROXY_KEYS_MISSING = _kind(
    "proxy_keys_missing", "files", _ERROR, "The settings ask clients for a proxy key, and there is none.",
    "Make one with `tracemill keys add`, or set require_proxy_key to false.",
)  # fmt: skip
PROXY_KEYS_DAMAGED = _kind(
    "proxy_keys_damaged", "files", _ERROR, "The file of the proxy keys cannot be read; no key opens the proxy.",
    "Restore it from a backup, or move it away and make the keys anew with `tracemill keys add`.",
)  # fmt: skip

DATABASE = _kind("database", "database", _OK, "The database is whole as far as SQLite can tell, and of this version.")
DATABASE_MISSING = _kind("database_missing", "database", _INFO, "There is no database of traces yet.")
DATABASE_UNREADABLE = _kind(
    "database_unreadable", "database", _ERROR, "The database cannot be opened.",
    "Run this as the user that runs `tracemill serve`, and give that user the file: chown, chmod 600.",
)  # fmt: skip
DATABASE_FOREIGN = _kind(
    "database_foreign", "database", _ERROR, "The file in the database's place is something else.",
    "Move it away, or use another data directory; Tracemill leaves it untouched.",
)  # fmt: skip
DATABASE_DAMAGED = _kind(
    "database_damaged", "database", _ERROR, "SQLite finds the database damaged.",
    "Stop the server, keep a copy of the data directory, and restore a backup; what can still be read comes out with "
    "`sqlite3 traces.db .recover`.",
)  # fmt: skip
DATABASE_UNCHECKED = _kind(
    "database_unchecked", "database", _INFO, "The database is too large to be checked whole in half a minute.",
    "`tracemill doctor --verify` takes the time it needs.",
)  # fmt: skip
SCHEMA_NEWER = _kind(
    "schema_newer", "database", _ERROR, "A later Tracemill wrote the database; this one does not touch it.",
    "Upgrade this Tracemill, or use another data directory.",
)  # fmt: skip
SCHEMA_OLDER = _kind(
    "schema_older", "database", _WARNING, "An earlier Tracemill wrote the database, and it is not migrated yet.",
    "Start `tracemill serve` on this data directory once: it migrates the file.",
)  # fmt: skip
LOG_ORPHANED = _kind(
    "log_orphaned", "database", _WARNING,
    "The database has a write-ahead log without its index, as a copy made file by file has; the log was not looked at.",
    "Start `tracemill serve` on this data directory once: it takes the log in.",
)  # fmt: skip
LOG_LARGE = _kind(
    "log_large", "database", _WARNING, "The write-ahead log is larger than 256 MiB: something keeps it from being cut.",
    "End long readers of the database (an export, a shell, a backup tool), or restart the server.",
)  # fmt: skip
RETENTION = _kind("retention", "database", _OK, "How long traces are kept, by the settings in force.")
ERASURES_PENDING = _kind(
    "erasures_pending", "database", _INFO, "Something is being erased, and not all of it is gone yet.",
    "Let the server run; `journals` waits for calls in flight to end, `log`, `pages` and `work` for readers of the "
    "databases.",
)  # fmt: skip
ERASURES_FAILING = _kind(
    "erasures_failing", "database", _ERROR, "Something is to be erased, and a step of it failed; it is tried again.",
    "The sentence names the error: make room on the disk, or end the program that locks or changes the databases. If "
    "it goes on failing, report the words of this line.",
)  # fmt: skip
ROOM_HELD = _kind(
    "room_held", "database", _INFO, "An earlier version made the database: it keeps the room of what is deleted.",
    "Stop the server and run `tracemill vacuum` once; from then on the file shrinks by itself.",
)  # fmt: skip
CLOCK_BEHIND = _kind(
    "clock_behind", "database", _WARNING, "The newest trace is from the future: the clock was set back since.",
    "Set the clock (chrony, systemd-timesyncd). Ids and order of the traces are not touched by it.",
)  # fmt: skip

SEARCH = _kind("search", "database", _OK, "What was said can be searched.")
SEARCH_OFF = _kind("search_off", "database", _OK, "What was said is not indexed: the setting `search` is off.")
SEARCH_BEHIND = _kind(
    "search_behind", "database", _INFO,
    "More than 10,000 messages are stored and not in the index for search yet: after a migration or an import, or "
    "because calls come in faster than they can be indexed beside. `text` does not find them.",
    "Wait while the server runs: it indexes some thousand messages a second when few calls come in.",
)  # fmt: skip
SEARCH_FORGETTING = _kind(
    "search_forgetting", "database", _INFO,
    "The index for search still holds words of erased messages. Nobody finds them, and parts of it are made anew.",
    "Let the server run for some minutes; erasures are finished when it is done.",
)  # fmt: skip

JOURNAL = _kind("journal", "journal", _OK, "What the workers wrote is read along.")
INGEST = _kind("ingest", "journal", _OK, "A process stores what the workers write.")
INGEST_STOPPED = _kind(
    "ingest_stopped", "journal", _ERROR, "Workers write to the journal, and nobody stores it.",
    "Look into the server's log for `ingest`, and restart the server; the journal keeps the calls meanwhile.",
)  # fmt: skip
INGEST_BEHIND = _kind(
    "ingest_behind", "journal", _WARNING, "Calls that ended more than 10 s ago are not stored yet.",
    "Look into the server's log for `ingest`: a locked or full database says so there. Nothing is lost until the "
    "journal has reached max_journal_bytes.",
)  # fmt: skip
JOURNAL_WAITING = _kind(
    "journal_waiting", "journal", _INFO, "A stopped server left calls in its journal that are not stored yet.",
    "Start `tracemill serve` on this data directory: it stores them.",
)  # fmt: skip
JOURNAL_FULL = _kind(
    "journal_full", "journal", _ERROR, "A worker's journal has reached max_journal_bytes: new calls are not recorded.",
    "Mend what keeps ingest (see the other findings and the log); there is room again as soon as it reads on.",
)  # fmt: skip
JOURNAL_DAMAGED = _kind(
    "journal_damaged", "journal", _WARNING,
    "A journal holds bytes that are no entry (a torn end, a flipped bit), or a segment is missing. The entries around "
    "them are read; ingest keeps the bytes as a dead letter.",
    "Check the disk (`dmesg`, SMART) unless the machine lost power or the disk was full at that time.",
)  # fmt: skip

DEAD_LETTERS = _kind(
    "dead_letters", "capture", _WARNING,
    "Journal entries or calls could not be understood and are kept aside: `bad_crc` and `torn` (damaged bytes), "
    "`orphan` (its call's beginning is lost), `derive_failed` and `unstorable` (a whole call), `unknown_change` "
    "(what a later version asked for).",
    "Nothing of them is lost; after an upgrade that mends the reason they can be read again. Report `derive_failed` "
    "and `unstorable` with the words that the server's log has of them.",
)  # fmt: skip
GAPS = _kind(
    "gaps", "capture", _WARNING, "Calls, or parts of calls, were not recorded; how many, when and why is declared.",
    "The reasons are told in docs/metrics.md: for `journal_backlog` give the disk room or raise max_pending_bytes and "
    "max_journal_bytes; for `capture_failed` look into the log.",
)  # fmt: skip
CAPTURE = _kind("capture", "capture", _OK, "Nothing is missing but what is declared as missing.")
CALLS_UNACCOUNTED = _kind(
    "calls_unaccounted", "capture", _WARNING,
    "The server counted more calls than are stored, waiting, set aside or declared missing.",
    "Traces deleted since its start are such calls. If none were, the log and the other findings tell more; report it.",
)  # fmt: skip
GAPS_UNDECLARED = _kind(
    "gaps_undeclared", "capture", _WARNING,
    "The server counted calls that it could not record, and they are not declared in the store yet.",
    "They are declared as soon as the journal has room; make room on the disk.",
)  # fmt: skip
WORKER_STUCK = _kind(
    "worker_stuck", "capture", _ERROR, "A worker's disk does not answer: calls go on, their records wait in memory.",
    "Look at the disk (`dmesg`, `iostat`); what waits is recorded as soon as it answers.",
)  # fmt: skip
PROCESS_SILENT = _kind(
    "process_silent", "capture", _ERROR, "A process of the server has told nothing for more than 10 s: it hangs.",
    "Look into its log lines, then restart the server.",
)  # fmt: skip
PROCESS_RESTARTED = _kind(
    "process_restarted", "capture", _WARNING, "Processes of the server ended unasked and were started again.",
    "The server's log says why; nothing that was answered is lost by it.",
)  # fmt: skip
FLUSH_FAILED = _kind(
    "flush_failed", "capture", _WARNING, "The disk refused to flush the journal.",
    "Check the disk (`dmesg`, SMART): what was answered meanwhile outlives our processes, but not the loss of power.",
)  # fmt: skip

VERIFIED = _kind("verified", "verification", _OK, "Every id was derived again from the stored text, and is the same.")
RAW_CALLS = _kind("raw_calls", "verification", _OK, "Every raw call that is kept can be read.")
RAW_CALLS_DAMAGED = _kind(
    "raw_calls_damaged", "verification", _WARNING,
    "Raw calls cannot be read, or are not those that the database says. Their traces are whole, and cannot be made "
    "again.",
    "After a loss of power the last ones may be missing; otherwise check the disk (`dmesg`, SMART). They go with "
    "`raw_retention_days`.",
)  # fmt: skip
ID_MISMATCH = _kind(
    "id_mismatch", "verification", _ERROR, "A stored text, derived again, does not give the id it is stored under.",
    "The text was changed behind Tracemill's back, by a disk or a hand: restore a backup.",
)  # fmt: skip
REFERENCE_MISSING = _kind(
    "reference_missing", "verification", _ERROR, "A trace or message points at something that is not there.",
    "Rows were deleted behind Tracemill's back: restore a backup.",
)  # fmt: skip
VERSIONS_SOUND = _kind(
    "versions_sound", "verification", _OK, "Every hash of every version of a dataset was derived again."
)
VERSION_DAMAGED = _kind(
    "version_damaged", "verification", _ERROR, "A version of a dataset is not what its hashes say.",
    "`tracemill datasets verify` names the rows. They were changed behind Tracemill's back, by a disk or a hand: "
    "restore a backup of work.db; a version that was made of a run can be made again of it.",
)  # fmt: skip
VERSIONS_UNGUARDED = _kind(
    "versions_unguarded", "verification", _ERROR,
    "Triggers are missing in work.db that keep frozen versions of datasets from being changed, or others are there.",
    "Somebody took them away: restore a backup of work.db.",
)  # fmt: skip
