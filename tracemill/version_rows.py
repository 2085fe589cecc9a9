"""Rows of versions for `why` and `where`: what holds them, what was decided about them, and the calls they name."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from store import json_text
from store.call import Call
from store.data_files import WORK_FILE
from store.datasets.covering import uncover
from store.datasets.dataset_store import DatasetStore
from store.datasets.decision import Decision
from store.datasets.row import RowEnd
from store.datasets.row_search import FoundRow
from store.datasets.version import Version
from store.errors import DatabaseMissingError, OlderSchemaError

_MOST = 20


class VersionRows:
    """The rows of all versions, as far as there are any.

    Args:
        data_dir: The data directory.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / WORK_FILE

    async def beginning(self, beginning: str) -> list[tuple[Version, FoundRow]]:
        """Find rows by the beginning of their ids, the newest version of each dataset first."""
        with suppress(DatabaseMissingError, OlderSchemaError):
            async with await DatasetStore.open_to_read(self._path) as store:
                return await self._with_versions(store, await store.rows_beginning(beginning, _MOST))
        return []

    async def of_trace(self, trace: str) -> list[tuple[Version, FoundRow]]:
        """Find rows by the trace that they were made from."""
        with suppress(DatabaseMissingError, OlderSchemaError):
            async with await DatasetStore.open_to_read(self._path) as store:
                return await self._with_versions(store, await store.rows_of_trace(trace))
        return []

    async def decisions(self, version: Version, row: FoundRow) -> list[dict[str, Any]]:
        """Give what people decided about a row, whichever version they saw it in."""
        async with await DatasetStore.open_to_read(self._path) as store:
            log = await store.decision_log(version.dataset)
        return [_decision(one) for one in log if row.row_id == one.row_id or row.learned_hash == one.learned_hash]

    async def tell(self, version: Version, found: FoundRow) -> dict[str, Any]:
        """Tell a row from the version alone: what it holds, its ends one after the other, and the calls it names."""
        async with await DatasetStore.open_to_read(self._path) as store:
            row = await store.row(version, found.row_id)
            if row is None:
                return {"row": None, "part": found.part, "ends": [_place(found)], "traces": [], "calls": []}
            metadata = row.content.get("metadata") or {}
            calls = [await _call(store, name, value) for name, value in metadata.items() if name.endswith("_call")]
            return {
                "row": dict(row.content),
                "part": None if row.part is None else str(row.part),
                "ends": [_end(end) for end in _ends(row.end)],
                "traces": sorted(await store.sources_of(found.row_hash)),
                "calls": [call for call in calls if call is not None],
            }

    async def _with_versions(self, store: DatasetStore, found: list[FoundRow]) -> list[tuple[Version, FoundRow]]:
        known = {version.id: version for version in await store.all_versions()} if found else {}
        return [(known[row.version], row) for row in found if row.version in known]


def version_row_json(version: Version, row: FoundRow) -> dict[str, Any]:
    """Give where a row stands in a version."""
    return {
        "version": version.label,
        "version_state": str(version.state),
        "row_id": row.row_id,
        "row_hash": row.row_hash,
        "part": row.part,
        **_place(row),
    }


def _place(row: FoundRow) -> dict[str, Any]:
    return {"state": row.state, "stage": row.stage, "reason": row.reason}


def _ends(end: RowEnd) -> list[RowEnd]:
    """The end of a row and those that lie below it, the first one first."""
    found = [end]
    while (below := uncover(found[0], {found[0].stage})) != found[0]:
        found.insert(0, below)
    return found


def _end(end: RowEnd) -> dict[str, Any]:
    detail = {name: value for name, value in end.detail.items() if name != "before"}
    return {"state": str(end.state), "stage": end.stage, "reason": end.reason, "detail": detail}


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "kind": str(decision.kind),
        "who": decision.who,
        "at": decision.at,
        "note": decision.note,
        "is_erased": decision.is_erased,
    }


async def _call(store: DatasetStore, name: str, key: object) -> dict[str, Any] | None:
    """A call that the metadata name, as `why` tells it; None where they name none, or it is gone."""
    if not isinstance(key, str):
        return None
    try:
        call = await store.call(bytes.fromhex(key))
    except ValueError:
        return None
    return None if call is None else {"of": name.removesuffix("_call"), **_call_json(call)}


def _call_json(call: Call) -> dict[str, Any]:
    usage = {} if call.usage is None else json_text.loads(call.usage)
    known: Mapping[str, Any] = usage if isinstance(usage, dict) else {}
    return {
        "purpose": call.purpose,
        "model": call.model,
        "key": call.key.hex(),
        "prompt_tokens": known.get("prompt_tokens"),
        "completion_tokens": known.get("completion_tokens"),
        "cost": call.cost,
        "error": call.error,
    }
