"""Windows in the tables: which calls go on from where by what is left of their history (`store.truncated_history`)."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from store import conversation_statements as sql
from store.conversation_call import KEY_BYTES, Call, load_calls
from store.id_list import id_list, number_list
from store.truncated_history import MOST_SHARING, SaidBefore


@dataclass(slots=True)
class Changes:
    """What follows for conversations.

    Attributes:
        joined: Pairs of traces that are in one conversation now.
        apart: Calls that are no longer joined by what they were joined by.
    """

    joined: list[tuple[int, int]] = field(default_factory=list)
    apart: set[int] = field(default_factory=set)


def add_windows(
    db: sqlite3.Connection, calls: Sequence[Call], roots: Iterable[Call], adopted: Sequence[int], said: SaidBefore
) -> Mapping[bytes, int]:
    """Write down the windows of new calls.

    Args:
        db: Inside a transaction.
        calls: The new calls.
        roots: Those of them that go on from no reply by their whole history.
        adopted: Calls that sought a window until now, when their parent came.
        said: What messages say.

    Returns:
        The windows to settle, each with the number of rows that were added for it at most.
    """
    db.executemany(
        sql.INSERT_WINDOW, [(w, point, call.number, call.system) for call in calls for w, point in call.tails]
    )
    added: Counter[bytes] = Counter()
    seeking = [(call, window) for call in roots if (window := call.sought(said)) is not None]
    new = number_list(call.number for call, _ in seeking)
    for call, window in seeking:
        if not _goes_along(db, call, window, new):
            added[window] += 1
    if not db.execute(sql.IS_ANYBODY_SEEKING).fetchone()[0]:
        return added
    ended = Counter([window for call in calls for window, _ in call.tails])
    for (window,) in db.execute(sql.SOUGHT_WINDOWS, id_list(ended)).fetchall() if ended else ():
        added[window] += ended[window]
    for window in _stop_seeking(db, load_calls(db, adopted, said), said) if adopted else ():
        added[window] += 0
    return added


def _goes_along(db: sqlite3.Connection, call: Call, window: bytes, new: dict[str, object]) -> bool:
    """Let a call seek a window, and go on from where an equal older call goes on; tell whether there was one."""
    equal = db.execute(sql.OLDER_SEEKER, {"window": window, "request": call.request, **new}).fetchone()
    db.execute(sql.INSERT_SEEKER, (window, call.request, call.number, call.system))
    if equal is None:
        return False
    db.execute(sql.CONTINUE, (*equal, call.number))
    return True


def remove_windows(db: sqlite3.Connection, calls: Sequence[Call], said: SaidBefore) -> Mapping[bytes, int]:
    """Undo `add_windows` for calls that are erased; give the windows to settle."""
    db.executemany(sql.DELETE_WINDOW, [(window, point, call.number) for call in calls for window, point in call.tails])
    sought = _stop_seeking(db, calls, said)
    ended = {window for call in calls for window, _ in call.tails}
    for (window,) in db.execute(sql.SOUGHT_WINDOWS, id_list(ended)).fetchall() if ended else ():
        sought[window] += 0
    return sought


def _stop_seeking(db: sqlite3.Connection, calls: Iterable[Call], said: SaidBefore) -> Counter[bytes]:
    sought: Counter[bytes] = Counter()
    for call in calls:
        window = call.sought(said)
        if window is not None:
            db.execute(sql.DELETE_SEEKER, (window, call.request, call.number))
            sought[window] = 0
    return sought


def settle_windows(db: sqlite3.Connection, added: Mapping[bytes, int], said: SaidBefore) -> Changes:
    """Find out which of those who seek these windows go on from where.

    Args:
        db: Inside a transaction.
        added: Windows, each with the number of rows that were just added for it at most.
        said: What messages say.
    """
    changes = Changes()
    for window, rows in added.items():
        # As many were there before, at least, if the list comes to its end: then nobody was joined by this window.
        most = MOST_SHARING + rows + 1
        points = _distinct(db, sql.NEXT_POINT, window, most)
        requests = _distinct(db, sql.NEXT_REQUEST, window, most)
        if len(points) == most or len(requests) == most:
            continue
        is_common = len(points) > MOST_SHARING or len(requests) > MOST_SHARING
        for request, system in requests:
            _settle(db, window, request, [] if is_common else _fitting(points, request, system), changes, said)
    return changes


def _distinct(db: sqlite3.Connection, statement: str, window: bytes, most: int) -> list[tuple[Any, ...]]:
    """List a window's points or requests, each once, however many calls share it."""
    found: list[tuple[Any, ...]] = []
    last = b""
    while len(found) < most and (row := db.execute(statement, (window, last)).fetchone()) is not None:
        found.append(tuple(row))
        last = row[0]
    return found


def _fitting(points: Sequence[tuple[Any, ...]], request: bytes, system: bytes) -> list[tuple[bytes, int]]:
    """Leave out points under another system prompt, and those of the very request that seeks."""
    return [
        (point, trace)
        for point, of_point, trace in points
        if (not system or system == of_point) and point[:KEY_BYTES] != request
    ]


def _settle(
    db: sqlite3.Connection,
    window: bytes,
    request: bytes,
    points: list[tuple[bytes, int]],
    changes: Changes,
    said: SaidBefore,
) -> None:
    seeker = db.execute(sql.SEEKER, (window, request)).fetchone()
    if seeker is None:
        return
    trace, continues, place = seeker
    if place is not None:
        return
    # A history that grew out of this very call is no place for it to go on from.
    points = [(point, maker) for point, maker in points if not _grew_out_of(db, maker, request, said)]
    target = points[0][0] if len(points) == 1 else None
    if target == continues:
        return
    if continues is not None:
        changes.apart.add(trace)
    elif target is not None and (maker := db.execute(sql.MAKER, (target,)).fetchone()) is not None:
        db.execute(sql.CONTINUE_SEEKERS, {"point": target, "window": window, "request": request})
        changes.joined.append((trace, maker[0]))


def _grew_out_of(db: sqlite3.Connection, trace: int, request: bytes, said: SaidBefore) -> bool:
    return any(key[:KEY_BYTES] == request for call in load_calls(db, [trace], said) for key in call.keys)
