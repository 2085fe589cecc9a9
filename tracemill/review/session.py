"""A person goes through the rows that were chosen for review; every decision is noted before the next row is shown."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from processing.interval import wilson
from store.datasets.dataset_store import DatasetStore
from store.datasets.decision import Decision, DecisionKind
from store.datasets.review import Precision, Queued, decide, precision, queue, undo
from store.datasets.version import Version
from store.errors import DatasetError
from tracemill.review.editor import Draft, EditError
from tracemill.review.screen import KEYS, Screen

_KINDS: Final = {"a": DecisionKind.ACCEPT, "r": DecisionKind.REJECT, "s": DecisionKind.SKIP}
_QUIT: Final = ("q", "")
_TOLD: Final = {
    DecisionKind.ACCEPT: "accepted",
    DecisionKind.EDIT: "edited",
    DecisionKind.REJECT: "rejected",
    DecisionKind.SKIP: "skipped",
}
_AGAIN: Final = {"e": "edit again", "d": "discard"}


class Keys(Protocol):
    """Where keys come from."""

    def forget(self) -> None:
        """Throw away what was typed so far."""

    async def key(self) -> str:
        """Wait for one; an empty text when there will be no more."""

    def lent(self) -> AbstractContextManager[None]:
        """Give the terminal to another program for a while."""


class ReviewSession:
    """One person at one version's rows.

    Args:
        store: Holds the version.
        version: The active one, with its choice of rows.
        queued: The rows, those included that were decided already.
        who: The person.
        screen: Shows rows.
        keys: Gives keys.
    """

    def __init__(
        self,
        store: DatasetStore,
        version: Version,
        queued: list[Queued],
        *,
        who: str,
        screen: Screen,
        keys: Keys,
    ) -> None:
        self._store = store
        self._version = version
        self._queued = queued
        self._who = who
        self._screen = screen
        self._keys = keys
        mine = [(one.decision, at) for at, one in enumerate(queued) if one.decision and one.decision.who == who]
        self._done = [at for decision, at in sorted(mine, key=lambda pair: str(pair[0].at))]

    @property
    def left(self) -> int:
        """Rows that nobody decided about yet."""
        return sum(one.decision is None for one in self._queued)

    async def run(self) -> None:
        """Show row after row until all are decided or the person quits."""
        place = self._next(0)
        if place is None:
            self._screen.say("Nothing is left to review here.")
        while place is not None:
            after = await self._decide(place)
            if after is None:
                break
            place = after if self._queued[after].decision is None else self._next(after)
        self._queued = await queue(self._store, await self._store.version(self._version.label))
        self._screen.say("\n" + summary(self._queued, self._version))

    def _next(self, place: int) -> int | None:
        """The first row from a place on that waits, and then from the beginning."""
        order = [*range(place, len(self._queued)), *range(place)]
        return next((at for at in order if self._queued[at].decision is None), None)

    async def _decide(self, place: int) -> int | None:
        """Show one row until it is decided; give the place to go on from, None to quit."""
        self._screen.row(self._queued[place], self._title(place))
        while True:
            key = await self._ask(KEYS)
            if key in _QUIT:
                return None
            if key in _KINDS and await self._note(place, _KINDS[key]):
                return (place + 1) % len(self._queued)
            if key == "e" and await self._edit(place):
                return (place + 1) % len(self._queued)
            if key == "u" and (before := await self._undo()) is not None:
                return before
            if key == "m":
                self._screen.row(self._queued[place], self._title(place), is_whole=True)
            if key not in KEYS or key == "?":
                self._screen.help()

    async def _note(self, place: int, kind: DecisionKind, messages: list[object] | None = None) -> bool:
        """Note a decision; tell whether it was one that can be made about this row."""
        one = self._queued[place]
        try:
            row = await decide(self._store, self._version, one.row.row_id, kind, who=self._who, messages=messages)
        except DatasetError as exc:
            self._screen.say(str(exc), "red")
            return False
        decision = Decision(self._version.dataset, row.learned_hash, kind, self._who)
        self._queued[place] = one._replace(row=row, decision=decision)
        self._done.append(place)
        return True

    async def _edit(self, place: int) -> bool:
        """Let the person write the answer; tell whether it was decided so."""
        with TemporaryDirectory(prefix="tracemill-review-") as folder:
            draft = Draft(self._queued[place].row.content, Path(folder))
            while True:
                try:
                    with self._keys.lent():
                        draft.open_editor()
                    messages = draft.messages()
                except EditError as exc:
                    self._screen.say(f"This edit was not taken: {exc}", "red")
                    if not await self._wants_again():
                        return False
                    continue
                if messages is None:
                    self._screen.say("Nothing was changed, so nothing was decided.")
                    return False
                return await self._note(place, DecisionKind.EDIT, messages)

    async def _wants_again(self) -> bool:
        while True:
            key = await self._ask(_AGAIN)
            if key == "e":
                return True
            if key in ("d", ""):
                return False

    async def _ask(self, keys: Mapping[str, str]) -> str:
        self._keys.forget()
        self._screen.ask(keys)
        try:
            key = await self._keys.key()
        except asyncio.CancelledError:
            self._screen.say("")
            raise
        self._screen.say(keys.get(key, ""))
        return key

    async def _undo(self) -> int | None:
        """Take back the last decision of this person; give the place of its row."""
        if not self._done:
            self._screen.say("There is nothing of yours to undo.")
            return None
        place = self._done.pop()
        one = self._queued[place]
        try:
            row = await undo(self._store, self._version, one.row.row_id, who=self._who)
        except DatasetError as exc:
            self._screen.say(str(exc), "red")
            return None
        self._queued[place] = one._replace(row=row, decision=None)
        return place

    def _title(self, place: int) -> str:
        counts = Counter(one.decision.kind for one in self._queued if one.decision is not None)
        told = ", ".join(f"{counts[kind]} {name}" for kind, name in _TOLD.items() if counts[kind])
        row_id = self._queued[place].row.row_id
        return f"{self._version.label}  row {place + 1} of {len(self._queued)}  {row_id}" + (
            f"  ({told})" if told else ""
        )


def summary(queued: list[Queued], version: Version) -> str:
    """Say what was decided, how many rows are left, and what the random ones tell of all."""
    counts = Counter(one.decision.kind for one in queued if one.decision is not None)
    left = sum(one.decision is None for one in queued)
    told = [f"{counts[kind]} {name}" for kind, name in _TOLD.items()]
    return f"{version.label}: {', '.join(told)}, {left} left.\n{precision_text(precision(queued))}"


def precision_text(found: Precision) -> str:
    """Say what the rows drawn at random tell of all kept rows."""
    if not found.decided:
        return f"Of the {found.drawn} rows drawn at random among the kept ones none is decided yet."
    low, high = wilson(found.good / found.decided, found.decided)
    return (
        f"Of {found.decided} decided rows drawn at random among the kept ones, {found.good} are good: "
        f"{found.good / found.decided:.0%} (95 % interval {low:.0%} to {high:.0%}, Wilson)."
    )
