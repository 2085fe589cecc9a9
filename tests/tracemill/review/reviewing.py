"""Rows under review, and a person who presses scripted keys."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from io import StringIO
from pathlib import Path
from typing import Any

from processing.datasets.review_selection import select_for_review
from processing.datasets.row_form import messages_of, row_of
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Row, RowEnd, RowState
from store.datasets.version import Birth, Version
from tracemill.review.screen import Screen
from tracemill.review.session import ReviewSession

NAME = "tickets"
KEPT = RowEnd(RowState.KEPT, "upload", "uploaded")
HOSTILE = "\x1b[2J\x1b]0;owned\x07 [bold red]loud[/] \u202e\u200b\x9b31m"


def row(prompt: str, response: str = "billing", *, end: RowEnd = KEPT, tools: Any = None, **metadata: Any) -> Row:
    return Row(row_of(messages_of(prompt, response), tools=tools, metadata=metadata), None, end)


@asynccontextmanager
async def a_store(folder: Path, rows: Sequence[Row]) -> AsyncIterator[DatasetStore]:
    async with await DatasetStore.open(folder / "work.db") as store:
        async with store.birth(NAME, birth=Birth.UPLOAD, manifest={}) as born:
            await born.add_rows(rows)
        yield store


class Pressed:
    """Presses keys one after the other, and closes the terminal after the last; `<r` is pressed before it is asked."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = list(keys)

    def forget(self) -> None:
        while self._keys and self._keys[0].startswith("<"):
            self._keys.pop(0)

    def lent(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def key(self) -> str:
        return self._keys.pop(0).removeprefix("<") if self._keys else ""


async def go_through(store: DatasetStore, keys: Sequence[str], *, who: str = "ann", limit: int = 10) -> str:
    """Review with these keys; give what was shown."""
    out = StringIO()
    version, queued = await select_for_review(store, NAME, limit=limit)
    await ReviewSession(store, version, queued, who=who, screen=Screen(out), keys=Pressed(keys)).run()
    return out.getvalue()


async def ends(store: DatasetStore) -> dict[str, str]:
    version: Version = await store.version(NAME)
    return {str(one.content["prompt"]): one.end.reason async for one in store.rows(version)}
