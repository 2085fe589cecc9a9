"""What speaks against learning from a version; told when it is frozen, and kept in its manifest."""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from store.datasets import row_table
from store.datasets.row import RowState
from store.datasets.version import Birth, Version

FEW_ROWS: Final = 200
_BATCH_ROWS = 500
_SHOWN = 5


def warnings_of(db: sqlite3.Connection, version: Version) -> list[str]:
    """Tell what speaks against learning from a version, as sentences; reads every kept row.

    Raises:
        CorruptDatabaseError: A row is not what its hash says.
    """
    counts = version.counts
    learned = counts.train + counts.unsplit
    found = []
    if learned < FEW_ROWS:
        found.append(
            f"{learned} rows to learn from: with fewer than {FEW_ROWS} a student overfits and does not generalize "
            "beyond the training prompts. 500 to 2,000 is the sweet spot for most tasks."
        )
    clusters = _clusters(db, version)
    if len(clusters) > 1:
        named = ", ".join(f"{name} ({count})" for name, count in clusters.most_common(_SHOWN))
        found.append(
            f"its rows come from {len(clusters)} clusters: {named}. A dataset is to be one coherent task; unrelated "
            "ones teach neither."
        )
    if not is_curated(version.manifest, version.birth):
        found.append(
            "curation was skipped: failures, refusals and cut answers may be among its rows, and a student learns them."
        )
    if counts.unsplit:
        found.append(
            f"{counts.unsplit} rows are in no part; exports count them as train. `datasets split` shares them out."
        )
    return found


def is_curated(manifest: Mapping[str, Any], birth: Birth) -> bool:
    """Whether somebody or something looked at the rows: curation says so in the manifest, a run by what it did."""
    if manifest.get("curation"):
        return True
    config = manifest.get("config")
    wanted = config.get("trace_processing") if isinstance(config, Mapping) else None
    if birth is Birth.PROCESS and isinstance(wanted, Mapping):
        return bool(wanted.get("relevance_filtering") or wanted.get("relabel"))
    return False


def _clusters(db: sqlite3.Connection, version: Version) -> Counter[str]:
    """Count the rows of each cluster; rows that name none are left out."""
    counted: Counter[str] = Counter()
    place = ""
    while found := row_table.read(db, version.id, state=RowState.KEPT, part=None, after=place, limit=_BATCH_ROWS):
        place = found[-1].row_id
        for stored in found:
            row = row_table.sound(stored, version.label)
            metadata = None if row is None else row.content.get("metadata")
            cluster = metadata.get("cluster_id") if isinstance(metadata, Mapping) else None
            if cluster is not None:
                counted[str(cluster)] += 1
    return counted
