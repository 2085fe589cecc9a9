"""The chore that stitches what was stored before there were conversations, what was taken apart, or all again."""

import sqlite3
import time

from store import conversation_statements as sql
from store.chore import NOTHING_TO_DO, Step
from store.connection import transaction_now
from store.conversation_follower import Conversations
from store.conversation_rebuild import empty_some, finish_rebuild, rebuild_under_way

_STEP_S = 0.02
_PART_CALLS = 20


class ConversationSettling:
    """Stitches calls that wait for it, the shortest first; a call can be read meanwhile, and has no conversation."""

    name = "conversations"

    def __init__(self) -> None:
        self._conversations = Conversations()

    def step(self, db: sqlite3.Connection) -> Step:
        """Stitch for some 20 ms."""
        rebuild = rebuild_under_way(db)
        if rebuild is not None and rebuild.is_emptying:
            with transaction_now(db):
                empty_some(db, rebuild)
            return Step(has_more=True, has_erased=True)
        if not is_unsettled(db):
            if rebuild is None:
                return NOTHING_TO_DO
            with transaction_now(db):
                finish_rebuild(db, rebuild)
            return Step(has_more=True)
        began = time.monotonic()
        # The follower remembers conversations, too.
        self._conversations.forget()
        before = self._conversations.renamings
        settled = _PART_CALLS
        with transaction_now(db):
            while settled == _PART_CALLS and time.monotonic() - began < _STEP_S:
                settled = self._conversations.settle(db, _PART_CALLS)
        has_more = rebuild is not None or settled == _PART_CALLS
        return Step(has_more, has_erased=self._conversations.renamings != before)


def is_unsettled(db: sqlite3.Connection) -> bool:
    """Tell whether calls are left that no conversation has yet; `ConversationSettling` comes to them."""
    return bool(db.execute(sql.ARE_UNSETTLED).fetchone()[0])


def stitch_again(db: sqlite3.Connection) -> None:
    """Drop all conversations, inside a transaction, and leave it to the chore to stitch every call again."""
    for table in ("traces", "replies", "waits", "windows", "seekers", "sessions", "unsettled"):
        db.execute(f"DELETE FROM conversation_{table}")  # noqa: S608 - names of our own tables
    db.execute("INSERT INTO conversation_unsettled (message_count, trace) SELECT message_count, number FROM traces")
