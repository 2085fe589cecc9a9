"""Making traces again of their raw calls, in place: numbers, ids, feedback and the place in time stay."""

import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from uuid import UUID

from store.body import Packer
from store.change import Applied, Change
from store.erasing.removal import let_go
from store.erasing.sweep import look_again
from store.follower import Follower
from store.id_list import KNOWN_BLOBS, KNOWN_NODES
from store.raw_calls import Derive, RawCalls, find_raw_calls
from store.row_numbers import RowNumbers
from store.trace import Flag
from store.trace_batch import Batch
from store.trace_insertion import LAST_BLOB, LAST_NODE, Insertion

_log = logging.getLogger("tracemill.ingest")

NOT_TO_BE_MADE_AGAIN = frozenset({Flag.REDACTED, Flag.CONTENT_EXPIRED})
"""Flags of traces from which something was taken out on purpose."""
MOST_TRACES = 32
"""Most traces of one change: some 40 ms of work, in which no call is stored."""
_FIND = "SELECT number, flags FROM traces WHERE id = :id"


class Reingest:
    """Applies changes of the kind `reingest`: `{"ids": [...]}`, at most `MOST_TRACES` trace ids."""

    def __init__(self, raw_calls: RawCalls, followers: Sequence[Follower]) -> None:
        """Touch nothing yet.

        Args:
            raw_calls: Where the bytes are, and what makes traces of them.
            followers: Tables derived from traces; they let go of the old trace and take in the new one.
        """
        self._raw_calls = raw_calls
        self._followers = [follower for follower in followers if follower is not raw_calls]

    def __call__(self, db: sqlite3.Connection, change: Change) -> Applied:
        """Replace traces by what today's version makes of their raw calls.

        Returns:
            How many were `replaced`, had no bytes (`without_raw`), could not be made again (`failed`: they stay as they
            were) or are not there any more (`gone`).

        Raises:
            ValueError: The body is no such list, or nothing here can make traces.
        """
        ids = _ids(change.body)
        derive = self._raw_calls.derive
        if derive is None:
            raise ValueError("calls are redacted here, so their bytes are not kept")
        counts = Counter({"replaced": 0, "without_raw": 0, "failed": 0, "gone": 0})
        rows = {id_: db.execute(_FIND, {"id": id_.bytes}).fetchone() for id_ in ids}
        kept = find_raw_calls(db, [row[0] for row in rows.values() if row is not None])
        for id_, row in rows.items():
            if row is None:
                counts["gone"] += 1
            elif id_ not in kept or not NOT_TO_BE_MADE_AGAIN.isdisjoint(row[1].split(",")):
                counts["without_raw"] += 1
            else:
                counts["replaced" if self._replace(db, id_, row[0], derive, kept[id_]) else "failed"] += 1
        return Applied(dict(counts))

    def _replace(self, db: sqlite3.Connection, id_: UUID, number: int, derive: Derive, kept: bytes) -> bool:
        """Replace one trace; say whether that could be done."""
        batch = Batch()
        try:
            trace = derive(kept)
            if trace.id != id_:
                return False
            batch.add(trace)
            nodes, blobs = RowNumbers(KNOWN_NODES, LAST_NODE), RowNumbers(KNOWN_BLOBS, LAST_BLOB)
            insertion = Insertion(db, batch, [number], Packer(), nodes, blobs)
        except Exception as error:  # noqa: BLE001 - one call that nobody foresaw must not stop all that come after it
            # Of what kind, never the text: that may quote the call.
            _log.error("trace %s cannot be made again (%s); it stays as it is", id_, type(error).__name__)
            return False
        for follower in self._followers:
            follower.remove(db, [number])
        let_go(db, [number])
        look_again(db)
        insertion.replace(db)
        for follower in self._followers:
            follower.add(db, insertion.stored())
        return True


def _ids(body: bytes) -> list[UUID]:
    try:
        asked = json.loads(body)["ids"]
        ids = list(dict.fromkeys(UUID(text) for text in asked))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError("a reingest names the traces by their ids") from error
    if len(ids) > MOST_TRACES:
        raise ValueError(f"a reingest names at most {MOST_TRACES} traces")
    return ids


def bundles(ids: Sequence[UUID]) -> Iterator[dict[str, list[str]]]:
    """Cut ids into bodies of changes."""
    for at in range(0, len(ids), MOST_TRACES):
        yield {"ids": [str(id_) for id_ in ids[at : at + MOST_TRACES]]}
