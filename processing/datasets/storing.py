"""Storing the rows of a birth so that one which the store refuses fails alone."""

from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Final

from store.datasets.row import Row, RowEnd, RowState
from store.errors import DatasetError

NOT_STORED: Final = "not_stored"
ROWS_AT_ONCE: Final = 200


async def stored(rows: Sequence[Row], add: Callable[[Sequence[Row]], Awaitable[int]]) -> list[Row]:
    """Store a batch; give it as it was stored, with a failed row in the place of each that was refused.

    A row that was erased with its trace is refused for good: it stays away, and is counted.
    """
    try:
        await add(rows)
    except DatasetError:
        return [await _alone(row, add) for row in rows]
    return list(rows)


async def _alone(row: Row, add: Callable[[Sequence[Row]], Awaitable[int]]) -> Row:
    try:
        await add([row])
    except DatasetError as exc:
        # Nothing of the row stays but where it came from.
        named = blake2b(str(row.content.get("row_id")).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        detail = {"place": row.end.detail.get("place"), "problem": str(exc)}
        end = RowEnd(RowState.FAILED, row.end.stage, NOT_STORED, detail)
        refused = Row({"row_id": f"refused-{named}", "messages": [], "metadata": {}}, None, end)
        await add([refused])
        return refused
    return row
