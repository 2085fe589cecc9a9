"""Decisions in `work.db`: added to, never changed."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from store import json_text
from store.body import Packer, unpack
from store.datasets.decision import Decision, DecisionKind, standing
from store.datasets.row import HASH_BYTES, read_canonical
from store.errors import DatasetError

_ADD = """
    INSERT INTO decisions (dataset, learned_hash, row_id, kind, who, at)
    VALUES (:dataset, :learned_hash, :row_id, :kind, :who, :at)
"""
_TEXT = "INSERT INTO decision_texts (decision, body) VALUES (?, ?)"
_SOURCES = """
    INSERT OR IGNORE INTO decision_sources (decision, trace)
    SELECT ?, s.trace FROM row_contents c JOIN row_sources s USING (row_hash) WHERE c.learned_hash = ?
"""
_READ = """
    SELECT d.dataset, d.learned_hash, d.kind, d.who, d.row_id, d.at, t.body, e.decision IS NOT NULL FROM decisions d
    LEFT JOIN decision_texts t ON t.decision = d.id LEFT JOIN erased_decisions e ON e.decision = d.id
    WHERE d.dataset = :dataset {where} ORDER BY d.id
"""
_OF_ROW = "AND d.learned_hash = :learned_hash"


def add(db: sqlite3.Connection, decision: Decision, now: str) -> Decision:
    """Add a decision inside a transaction, with the traces that its row was made from.

    Raises:
        DatasetError: There is no such dataset, the hash is none, or there is nothing to undo.
    """
    try:
        hash_ = bytes.fromhex(decision.learned_hash)
    except ValueError:
        hash_ = b""
    if len(hash_) != HASH_BYTES:
        raise DatasetError(f"{decision.learned_hash[:60]!r} is no learned_hash: 40 hexadecimal characters.")
    if db.execute("SELECT 1 FROM versions WHERE dataset = ? LIMIT 1", (decision.dataset,)).fetchone() is None:
        raise DatasetError(f"there is no dataset {decision.dataset!r} to decide about.")
    values = {"dataset": decision.dataset, "learned_hash": hash_}
    if decision.kind is DecisionKind.UNDO and not standing(_decisions(db, _OF_ROW, values)):
        raise DatasetError("there is no decision about that row to undo.")
    noted = decision if decision.at else replace(decision, at=now)
    row = {**values, "row_id": noted.row_id, "kind": noted.kind, "who": noted.who, "at": noted.at}
    id_ = db.execute(_ADD, row).lastrowid
    if noted.note is not None or noted.messages is not None:
        text = json_text.dumps({"note": noted.note, "messages": noted.messages})
        db.execute(_TEXT, (id_, Packer().pack(text)))
        db.execute(_SOURCES, (id_, hash_))
    return noted


def read(db: sqlite3.Connection, dataset: str) -> list[Decision]:
    """Give all decisions about a dataset in the order they were made."""
    return _decisions(db, "", {"dataset": dataset})


def decided_row(db: sqlite3.Connection, learned_hash: str) -> Mapping[str, Any] | None:
    """Give what a row held that teaches just that."""
    found = db.execute(
        "SELECT body FROM row_contents WHERE learned_hash = ? ORDER BY number LIMIT 1", (bytes.fromhex(learned_hash),)
    ).fetchone()
    return None if found is None else read_canonical(unpack(found[0]))


def _decisions(db: sqlite3.Connection, where: str, values: Mapping[str, Any]) -> list[Decision]:
    return [_decision(row) for row in db.execute(_READ.format(where=where), values)]


def _decision(row: Sequence[Any]) -> Decision:
    dataset, learned_hash, kind, who, row_id, at, body, is_erased = row
    text = {} if body is None else json_text.loads(unpack(body))
    return Decision(
        dataset=dataset,
        learned_hash=learned_hash.hex(),
        kind=DecisionKind(kind),
        who=who,
        row_id=row_id,
        note=text.get("note"),
        messages=text.get("messages"),
        at=at,
        is_erased=bool(is_erased),
    )
