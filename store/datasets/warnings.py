"""What speaks against learning from a version; told when it is frozen, and kept in its manifest."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from store import json_text
from store.datasets import row_table
from store.datasets.covering import JUDGE, REVIEW
from store.datasets.row import Part, Row, RowEnd, RowState
from store.datasets.version import Birth, Version

FEW_ROWS: Final = 200
_BATCH_ROWS = 500
_REVIEWED = "SELECT 1 FROM version_rows WHERE version = ? AND stage = 'review' LIMIT 1"
_PARENT = "SELECT manifest, birth, parent FROM versions WHERE dataset = ? AND number = ?"
_SHOWN = 5


class Looked(NamedTuple):
    """What a look at a version's rows and ancestors tells.

    Attributes:
        clusters: Kept rows by the cluster that they name.
        is_curated: Whether somebody or something has looked at them.
        unjudged: Kept rows that the version's judge has not seen.
    """

    clusters: Counter[str]
    is_curated: bool
    unjudged: int = 0


def look(db: sqlite3.Connection, version: Version) -> Looked:
    """Look at a version; reads every kept row and holds it against its hash.

    Raises:
        CorruptDatabaseError: A row is not what its hash says.
    """
    is_reviewed = db.execute(_REVIEWED, (version.id,)).fetchone() is not None
    clusters, unjudged = _counts(db, version)
    return Looked(clusters, is_reviewed or any(is_curated(*one) for one in _line(db, version)), unjudged)


def warnings_of(version: Version, looked: Looked) -> list[str]:
    """Tell what speaks against learning from a version, as sentences.

    Args:
        version: As it is.
        looked: From `look`.
    """
    clusters = looked.clusters
    counts = version.counts
    learned = counts.train + counts.unsplit
    found = []
    if learned < FEW_ROWS:
        found.append(
            f"{learned} rows to learn from: with fewer than {FEW_ROWS} a student overfits and does not generalize "
            "beyond the training prompts. 500 to 2,000 is the sweet spot for most tasks."
        )
    if len(clusters) > 1:
        named = ", ".join(f"{name} ({count})" for name, count in clusters.most_common(_SHOWN))
        found.append(
            f"its rows come from {len(clusters)} clusters: {named}. A dataset is to be one coherent task; unrelated "
            "ones teach neither."
        )
    if not looked.is_curated:
        found.append(
            "curation was skipped: failures, refusals and cut answers may be among its rows, and a student learns them."
        )
    found += unjudged_warning(version, looked.unjudged)
    if counts.unsplit:
        found.append(
            f"{counts.unsplit} rows are in no part; exports count them as train. `datasets split` shares them out."
        )
    return found


def unjudged_warning(version: Version, rows: int) -> list[str]:
    """Tell of kept rows that the judge of a version has not seen; nothing where there are none, or it has no judge.

    Args:
        version: With the settings of its judge in the manifest.
        rows: Kept rows of which `is_unjudged` holds.
    """
    judge = (version.manifest.get("curation") or {}).get(JUDGE) or {}
    if not rows or not judge.get("model"):
        return []
    was = "1 kept row was" if rows == 1 else f"{rows:,} kept rows were"
    how = f"`tracemill datasets judge {version.dataset}` asks about nothing else."
    return [f"{was} not judged: added since, or out when the judge was asked. {how}"]


def is_unjudged(end: RowEnd, part: Part | None, *, was_asked_about: bool) -> bool:
    """Whether a row is kept that neither the judge, when it was asked about rows, nor a person has looked at."""
    return end.state is RowState.KEPT and part is not Part.UNSTRUCTURED and end.stage != REVIEW and not was_asked_about


def _was_asked_about(row: Row) -> bool:
    metadata = row.content.get("metadata") or {}
    return metadata.get("judge_score") is not None or bool(metadata.get("judge_problem"))


def is_curated(manifest: Mapping[str, Any], birth: Birth) -> bool:
    """Whether a version's own making looked at its rows: curation says so in the manifest, a run by what it did."""
    stages = manifest.get("curation")
    # To share rows out is no look at what they say.
    if isinstance(stages, Mapping) and stages.keys() - {"split"}:
        return True
    config = manifest.get("config")
    wanted = config.get("trace_processing") if isinstance(config, Mapping) else None
    if birth is Birth.PROCESS and isinstance(wanted, Mapping):
        return bool(wanted.get("relevance_filtering") or wanted.get("relabel"))
    # A judge has scored every answer.
    return birth is Birth.GENERATE


def _line(db: sqlite3.Connection, version: Version) -> Iterator[tuple[Mapping[str, Any], Birth]]:
    """The version and those that its rows were taken over from."""
    yield version.manifest, version.birth
    birth, parent = version.birth, version.parent
    while parent is not None and birth in (Birth.CURATE, Birth.REBUILD):
        manifest, text, parent = db.execute(_PARENT, (version.dataset, parent)).fetchone() or ("{}", birth, None)
        birth = Birth(text)
        yield json_text.loads(manifest.encode()), birth


def cluster_of(row: Row) -> str | None:
    """Give the cluster that a kept row names; None for other rows, and for rows that name none."""
    metadata = row.content.get("metadata")
    cluster = metadata.get("cluster_id") if isinstance(metadata, Mapping) else None
    return None if cluster is None or row.end.state is not RowState.KEPT else str(cluster)


def _counts(db: sqlite3.Connection, version: Version) -> tuple[Counter[str], int]:
    """Count the kept rows of each cluster, and those that are not judged."""
    counted: Counter[str] = Counter()
    unjudged = 0
    place = ""
    while found := row_table.read(db, version.id, state=RowState.KEPT, part=None, after=place, limit=_BATCH_ROWS):
        place = found[-1].row_id
        for stored in found:
            row = row_table.sound(stored, version.label)
            if row is None:
                continue
            cluster = cluster_of(row)
            if cluster is not None:
                counted[cluster] += 1
            unjudged += is_unjudged(row.end, row.part, was_asked_about=_was_asked_about(row))
    return counted, unjudged
