"""The ingest process, and the same done once by a command that finds nothing serving.

How calls are to be stored is a setting of the server: above all what is redacted. A command that takes in what a
journal holds must not store it otherwise, so the process leaves what it was told in the data directory, secrets apart.
"""

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from proxy.ingest.ingest import ingest_once, run_ingest
from proxy.ingest.kept_bytes import derive_again
from proxy.journal.rolling import JournalFiles
from proxy.journal.writer import JOURNAL_FOLDER
from proxy.key_salt import key_salt
from proxy.price_config import make_price_book
from proxy.redaction.redactor import Redactor, make_redactor
from proxy.settings import ServeSettings
from proxy.settings_json import to_json
from store.chore import Chore
from store.conversation_settling import ConversationSettling
from store.erasing.erasure import Erasing
from store.erasing.sweep import Sweep
from store.filter_labels import LabelChore
from store.fresh_messages import FreshMessages
from store.idle_memory import IdleMemory
from store.raw_call_retention import RawCallPruning
from store.raw_calls import NOT_KEPT, RawCalls, RawRetention
from store.retention import Pruning, Retention
from store.retention_space import FreedSpace
from store.search_index import SearchChore
from store.upkeep import make_followers
from store.usage_chore import UsageChore

SETTINGS_FILE = "ingest-settings.json"

_GATHER_S = 1.0
"""A server that is called a few times a second would wait for the disk twice as often otherwise."""
_KEPT = frozenset(
    {
        "content_retention_days", "max_capture_bytes", "max_store_bytes", "metadata_retention_days", "prices",
        "price_library", "raw_retention_bytes", "raw_retention_days", "redact", "redact_allow", "redact_rules",
        "search",
    }
)  # fmt: skip
"""Settings that decide what is stored of a call."""


async def run_ingest_process(settings: ServeSettings, salt: bytes) -> None:
    """Store what the journals hold until this process is told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    _keep(settings)
    raw_calls, fresh = make_raw_calls(settings), make_fresh(settings)
    await run_ingest(
        settings.data_dir,
        stop,
        max_decoded_bytes=settings.max_capture_bytes,
        redactor=_redactor(settings, salt),
        chores=make_chores(settings, raw_calls, fresh, gather_s=_GATHER_S),
        raw_calls=raw_calls,
        fresh=fresh,
    )


async def ingest_as_served(data_dir: Path) -> None:
    """Take in all that the journals hold, the way the last server of this data directory would have, and do the chores.

    Raises:
        WriterBusyError: A serving process has the store, and does it by itself.
        StoreError: The database cannot be written.
        SettingsError: What the last server was told cannot be read.
    """
    settings = settings_as_served(data_dir)
    raw_calls, fresh = make_raw_calls(settings), make_fresh(settings)
    await ingest_once(
        data_dir,
        max_decoded_bytes=settings.max_capture_bytes,
        redactor=_redactor(settings, bytes.fromhex(key_salt(data_dir))),
        chores=make_chores(settings, raw_calls, fresh),
        raw_calls=raw_calls,
        fresh=fresh,
    )


def make_chores(
    settings: ServeSettings, raw_calls: RawCalls, fresh: FreshMessages | None = None, *, gather_s: float = 0.0
) -> Sequence[Chore]:
    """Make the chores that these settings ask for; `gather_s` is how long new messages may wait for their index."""
    followers = make_followers(raw_calls)
    retention = Retention(settings.content_retention_days, settings.metadata_retention_days, settings.max_store_bytes)
    journals = JournalFiles(settings.data_dir / JOURNAL_FOLDER)
    return [
        ConversationSettling(),
        RawCallPruning(raw_calls),
        Erasing(followers, settings.data_dir, journals),
        Pruning(retention, followers),
        Sweep(followers),
        FreedSpace(),
        LabelChore(),
        SearchChore(is_on=settings.search, fresh=fresh, gather_s=gather_s),
        IdleMemory(),
        UsageChore(make_price_book(settings.prices, has_library=settings.price_library)),
    ]


def make_raw_calls(settings: ServeSettings) -> RawCalls:
    """Make what keeps raw calls, for as long as these settings say; where calls are redacted, none."""
    retention = RawRetention(settings.raw_retention_bytes, settings.raw_retention_days)
    again = partial(derive_again, max_decoded_bytes=settings.max_capture_bytes)
    return RawCalls(settings.data_dir, NOT_KEPT if settings.is_redacting else retention, again)


def make_fresh(settings: ServeSettings) -> FreshMessages | None:
    """Make what holds new messages until they are indexed, if they are."""
    return FreshMessages() if settings.search else None


def _redactor(settings: ServeSettings, salt: bytes) -> Redactor | None:
    return make_redactor(settings.redacted_categories(), settings.redact_rules, settings.redact_allow, salt=salt)


def _keep(settings: ServeSettings) -> None:
    path = settings.data_dir / SETTINGS_FILE
    partial = path.with_suffix(".tmp")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({name: value for name, value in to_json(settings).items() if name in _KEPT}, file, indent=2)
    partial.replace(path)


def settings_as_served(data_dir: Path) -> ServeSettings:
    """Give the settings that decide what is stored of a call, as the last server of this data directory had them.

    Where nothing ever served, they are as this folder and environment have them.
    """
    # Imported here: a serving ingest gets its settings checked, and never loads what checks them.
    from proxy.settings_source import load_settings

    path = data_dir / SETTINGS_FILE
    if not path.exists():
        return load_settings({"data_dir": data_dir, "upstream": _NO_UPSTREAM}, None)
    kept: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return load_settings({**kept, "data_dir": data_dir, "upstream": _NO_UPSTREAM}, None)


_NO_UPSTREAM = "http://127.0.0.1:9/v1"
"""Nothing is forwarded here, but settings without an upstream are none."""
