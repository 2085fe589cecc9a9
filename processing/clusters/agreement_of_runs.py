"""How far committees agreed on traces, as far as the rows of datasets made of them tell."""

from collections import defaultdict
from uuid import UUID

from processing.clusters.gathering import Agreement
from store import json_text
from store.body import unpack
from store.clusters.cluster_store import ClusterStore


async def agreements_of(store: ClusterStore) -> dict[UUID, Agreement]:
    """Sum up the agreement on rows of dataset versions, each row once, by the trace whose answer was labelled."""
    found: defaultdict[UUID, list[float]] = defaultdict(list)
    async for packed in store.row_bodies():
        metadata = json_text.loads(unpack(packed)).get("metadata")
        if not isinstance(metadata, dict):
            continue
        agreement, trace = metadata.get("agreement"), _uuid(metadata.get("source_trace_id"))
        if trace is not None and isinstance(agreement, int | float) and not isinstance(agreement, bool):
            found[trace].append(float(agreement))
    return {trace: Agreement(sum(sorted(values)), len(values)) for trace, values in found.items()}


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None
