"""Work on many items at a time, with results that do not depend on how many."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

from processing.provenance import about

T = TypeVar("T")
R = TypeVar("R")


async def each(items: Sequence[T], work: Callable[[T], Coroutine[None, None, R]], *, parallel: int) -> list[R]:
    """Do the work for every item, so many at a time; results stand in the order of the items.

    After an error no new item is begun, those in work are finished (their calls are paid for), then it is raised.
    """
    results: dict[int, R] = {}
    waiting = iter(enumerate(items))
    errors: list[Exception] = []

    async def lane() -> None:
        for number, item in waiting:
            try:
                with about(item):
                    results[number] = await work(item)
            except Exception as exc:  # noqa: BLE001 - raised below, once the others have finished
                errors.append(exc)
            if errors:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(min(parallel, len(items))):
            group.create_task(lane())
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(items))]
