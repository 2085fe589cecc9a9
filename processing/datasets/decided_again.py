"""What people decided about the rows of a version, done again in its order while the version is made once more."""

from collections.abc import Sequence

from store.datasets.dataset_store import DatasetStore
from store.datasets.decided_row import after_undo, decided, decision_hash
from store.datasets.decision import Decision, DecisionKind, standing
from store.datasets.review import carry_decisions
from store.datasets.row import Row
from store.datasets.version import Version
from store.errors import DatasetError


class DecidedAgain:
    """Applies decisions to the version in the making, which has none of its own.

    Args:
        store: Holds the version in the making.
        log: All decisions about the dataset in the order they were made.
    """

    def __init__(self, store: DatasetStore, log: Sequence[Decision]) -> None:
        self._store = store
        self._log = log
        self._done = 0

    async def carry(self, version: Version, count: int) -> None:
        """Bring all rows in line with the first so many decisions, as when a version is opened or rows come in."""
        self._done = max(self._done, count)
        await carry_decisions(self._store, version, standing(self._log[: self._done]))

    async def apply(self, version: Version, count: int) -> None:
        """Apply the decisions that came in since, up to so many, each to the row that was shown."""
        for at in range(self._done, min(count, len(self._log))):
            row_id = self._log[at].row_id
            row = None if row_id is None else await self._store.row(version, row_id)
            if row is not None and decision_hash(row.content) == self._log[at].learned_hash:
                applied = self._applied(row, at)
                if applied != row:
                    await self._store.replace_rows(version, [applied])
        self._done = max(self._done, count)

    def _applied(self, row: Row, at: int) -> Row:
        decision = self._log[at]
        try:
            if decision.kind is not DecisionKind.UNDO:
                return decided(row, decision)
            of_row = [one for one in self._log[: at + 1] if one.learned_hash == decision.learned_hash]
            return after_undo(row, standing(of_row).get(decision.learned_hash))
        except DatasetError:
            # The text of an edit that was erased.
            return row


def decisions_at_freeze(version: Version, log: Sequence[Decision]) -> int:
    """Tell how many decisions there were when a version was frozen; by the clock where its manifest does not tell."""
    noted = version.manifest.get("decisions_at_freeze")
    if isinstance(noted, int):
        return noted
    return sum(1 for one in log if str(one.at) <= str(version.frozen_at))
