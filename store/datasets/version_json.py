"""Versions and rows as JSON: what `tracemill datasets --json` and the admin side give."""

from typing import Any

from store.datasets.row import Row
from store.datasets.version import DatasetSummary, Version

Json = Any


def version_json(version: Version, *, manifest: bool = True) -> dict[str, Json]:
    """Give what is known of a version.

    Args:
        version: The version.
        manifest: Give what made it, too; lists leave it out.
    """
    found: dict[str, Json] = {
        "label": version.label,
        "dataset": version.dataset,
        "number": version.number,
        "state": str(version.state),
        "birth": str(version.birth),
        "parent": version.parent,
        "note": version.note,
        "hash": version.hash,
        "test_hash": version.test_hash,
        "counts": version.counts.as_json(),
        "erased": version.erased,
        "created_at": version.created_at,
        "frozen_at": version.frozen_at,
    }
    if manifest:
        found["manifest"] = version.manifest
    return found


def summary_json(summary: DatasetSummary) -> dict[str, Json]:
    """Give a dataset of a list."""
    return {
        "dataset": summary.name,
        "versions": summary.versions,
        "newest": version_json(summary.newest, manifest=False),
        "newest_frozen": summary.newest_frozen and summary.newest_frozen.label,
        "active": summary.active and summary.active.label,
    }


def row_json(row: Row) -> dict[str, Json]:
    """Give a row with its place in the version and its hashes."""
    end = row.end
    return {
        "row": row.content,
        "part": None if row.part is None else str(row.part),
        "end": {"state": str(end.state), "stage": end.stage, "reason": end.reason, "detail": dict(end.detail)},
        "row_hash": row.row_hash,
        "learned_hash": row.learned_hash,
    }
