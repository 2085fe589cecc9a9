"""Datasets: their versions and rows, what tells two versions apart, and freezing; docs/datasets.md tells the whole."""

import logging
from typing import TYPE_CHECKING

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.bearer import Scope
from proxy.admin.body import Body
from proxy.admin.context import Context
from proxy.admin.dataset_place import (
    NAME,
    NUMBER,
    ROW_ID,
    VERSION_PATH,
    dataset_name,
    find_version,
    note,
    reading,
    refusing,
    writing,
)
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import CURSOR, LIMIT, optional_choice
from proxy.admin.refusal import AdminRefusal, Code
from store import json_text
from store.datasets.dataset_store import DatasetStore
from store.datasets.decision import Decision
from store.datasets.review import decision_hash
from store.datasets.row import MAX_ROW_ID_CHARS, Part, RowState
from store.datasets.version import Version, label
from store.datasets.version_json import row_json, summary_json, version_json
from store.errors import CursorError
from store.json_text import JsonValue

if TYPE_CHECKING:
    from proxy.admin.shapes.dataset import FreezeTaken

_log = logging.getLogger("tracemill.admin")

_STATE = optional_choice("state", "Only rows that ended so.", RowState)
_PART = optional_choice("part", "Only rows of this part.", Part)
_FREEZING: Body["FreezeTaken"] = Body("dataset.FreezeTaken")


async def _list_datasets(context: Context, _asked: Asked) -> Response:
    try:
        async with reading(context) as store:
            found = await store.datasets()
    except AdminRefusal:  # there is no work.db yet
        found = []
    return _answer({"data": [summary_json(summary) for summary in found]})


async def _get_dataset(context: Context, asked: Asked) -> Response:
    name = dataset_name(asked)
    async with reading(context) as store:
        found = next((summary for summary in await store.datasets() if summary.name == name), None)
    if found is None:
        raise AdminRefusal(Code.NOT_FOUND, f"There is no dataset {name!r}.")
    return _answer(summary_json(found))


async def _list_versions(context: Context, asked: Asked) -> Response:
    name = dataset_name(asked)
    async with reading(context) as store:
        with refusing(Code.NOT_FOUND):
            found = await store.versions(name)
    return _answer({"data": [version_json(version, manifest=False) for version in found]})


async def _get_version(context: Context, asked: Asked) -> Response:
    async with reading(context) as store:
        return _answer(await _whole(store, await find_version(store, asked)))


async def _whole(store: DatasetStore, version: Version) -> dict[str, JsonValue]:
    warnings = version.manifest.get("warnings", []) if version.is_frozen else await store.warnings(version)
    is_following = not version.is_frozen and version.parent is not None
    progress = (await store.progress(version))._asdict() if is_following else None
    return {**version_json(version), "warnings": warnings, "progress": progress}


async def _list_rows(context: Context, asked: Asked) -> Response:
    cursor, limit = asked[CURSOR], asked[LIMIT]
    if cursor is not None and (len(cursor) > MAX_ROW_ID_CHARS or not cursor.isprintable()):
        raise CursorError(f"cursor is {cursor[:40]!r}; expected the next_cursor of an earlier page.")
    async with reading(context) as store:
        version = await find_version(store, asked)
        rows = store.rows(version, state=asked[_STATE], part=asked[_PART], after=cursor, limit=limit + 1)
        found = [row async for row in rows]
    next_cursor = found[limit - 1].row_id if len(found) > limit else None
    return _answer({"data": [row_json(row) for row in found[:limit]], "next_cursor": next_cursor})


async def _get_row(context: Context, asked: Asked) -> Response:
    async with reading(context) as store:
        version = await find_version(store, asked)
        row = await store.row(version, asked.path("row_id"))
        if row is None:
            message = f"{version.label} has no row {asked.path('row_id')[:80]!r}, or it was erased with its trace."
            raise AdminRefusal(Code.NOT_FOUND, message)
        name = decision_hash(row.content)
        decisions = [one for one in await store.decision_log(version.dataset) if one.learned_hash == name]
    told = {"trace_ids": sorted(row.trace_ids), "decisions": [decision_json(one) for one in decisions]}
    return _answer({**row_json(row), **told})


def decision_json(decision: Decision) -> dict[str, JsonValue]:
    """Give a decision as it is answered."""
    return {
        "row_id": decision.row_id,
        "learned_hash": decision.learned_hash,
        "kind": str(decision.kind),
        "who": decision.who,
        "at": decision.at,
        "note": decision.note,
        "messages": decision.messages,
        "is_erased": decision.is_erased,
    }


async def _diff(context: Context, asked: Asked) -> Response:
    limit = asked[LIMIT]
    async with reading(context) as store:
        first = await find_version(store, asked)
        second = await find_version(store, asked, number="other")
        found = (await store.diff(first, second))._asdict()
    counts = {name: len(ids) for name, ids in found.items()}
    lists = {name: ids[:limit] for name, ids in found.items()}
    return _answer({"first": first.label, "second": second.label, "counts": counts, **lists})


async def _freeze(context: Context, asked: Asked) -> Response:
    given = asked.body(_FREEZING).note
    async with writing(context) as store:
        version = await find_version(store, asked)
        if not version.is_frozen:
            if not version.counts.kept:
                raise AdminRefusal(Code.CONFLICT, f"{version.label} keeps no row, so there is nothing to freeze.")
            await note(context, asked, do="freeze", version=version.label)
        with refusing(Code.CONFLICT):
            return _answer(await _whole(store, await store.freeze(version, note=given)))


async def _discard(context: Context, asked: Asked) -> Response:
    async with writing(context) as store:
        version = await find_version(store, asked)
        with refusing(Code.CONFLICT):
            await store.version(label(version.dataset, version.number), wants="active")
            await note(context, asked, do="discard", version=version.label, rows=version.counts.entered)
            if not await store.discard(version):
                _log.warning("work.db is in use, so bytes of %s may stay in it until the next erasure", version.label)
    return _answer(version_json(version, manifest=False))


def _answer(value: dict[str, JsonValue]) -> Response:
    return json_answer(json_text.dumps(value))


OPERATIONS = (
    Operation(
        name="list_datasets",
        method="GET",
        path="/admin/api/datasets",
        summary="Lists all [datasets](datasets.md).",
        handler=_list_datasets,
        good=Good("The datasets.", "dataset.DatasetList"),
        tag="datasets",
    ),
    Operation(
        name="get_dataset",
        method="GET",
        path="/admin/api/datasets/{name}",
        summary="Tells which versions a dataset has.",
        handler=_get_dataset,
        good=Good("The dataset.", "dataset.Dataset"),
        path_parts=(NAME,),
        errors=(Code.NOT_FOUND,),
        tag="datasets",
    ),
    Operation(
        name="list_versions",
        method="GET",
        path="/admin/api/datasets/{name}/versions",
        summary="Lists the versions of a dataset by number.",
        handler=_list_versions,
        good=Good("The versions.", "dataset.VersionList"),
        path_parts=(NAME,),
        errors=(Code.NOT_FOUND,),
        tag="datasets",
    ),
    Operation(
        name="get_version",
        method="GET",
        path=VERSION_PATH,
        summary="Gives one version with its counts, what made it, and what speaks against learning from it.",
        handler=_get_version,
        good=Good("The version.", "dataset.WholeVersion"),
        path_parts=(NAME, NUMBER),
        errors=(Code.NOT_FOUND,),
        tag="datasets",
    ),
    Operation(
        name="list_rows",
        method="GET",
        path=f"{VERSION_PATH}/rows",
        summary="Lists the rows of a version, each whole, by their ids.",
        handler=_list_rows,
        good=Good("One page.", "dataset.RowPage"),
        parameters=(_STATE, _PART, CURSOR, LIMIT),
        path_parts=(NAME, NUMBER),
        errors=(Code.NOT_FOUND,),
        tag="datasets",
    ),
    Operation(
        name="get_row",
        method="GET",
        path=f"{VERSION_PATH}/rows/{{row_id}}",
        summary="Gives one row with the traces that it was made from and what people decided about it.",
        handler=_get_row,
        good=Good("The row.", "dataset.WholeRow"),
        path_parts=(NAME, NUMBER, ROW_ID),
        errors=(Code.NOT_FOUND,),
        tag="datasets",
    ),
    Operation(
        name="diff_versions",
        method="GET",
        path=f"{VERSION_PATH}/diff/{{other}}",
        summary="Tells how the kept rows of a version differ from those of another one.",
        handler=_diff,
        good=Good("The difference.", "dataset.VersionDiff"),
        parameters=(LIMIT,),
        path_parts=(NAME, NUMBER, ("other", "Number of the version that it is held against, usually the later one.")),
        errors=(Code.NOT_FOUND,),
        tag="datasets",
    ),
    Operation(
        name="freeze_version",
        method="POST",
        path=f"{VERSION_PATH}/freeze",
        summary="Freezes a version: from then on it never changes. One that is frozen stays as it is.",
        handler=_freeze,
        scope=Scope.WRITE,
        good=Good("The version.", "dataset.WholeVersion"),
        path_parts=(NAME, NUMBER),
        body=_FREEZING,
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        tag="datasets",
    ),
    Operation(
        name="discard_version",
        method="POST",
        path=f"{VERSION_PATH}/discard",
        summary="Deletes an active version with its rows; what people decided about them is kept.",
        handler=_discard,
        scope=Scope.WRITE,
        good=Good("The version as it stood.", "dataset.Version"),
        path_parts=(NAME, NUMBER),
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        tag="datasets",
    ),
)
