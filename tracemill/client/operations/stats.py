"""Counts, tokens and cost."""

from collections.abc import Sequence
from datetime import date

from proxy.admin.shapes.stats import Stats
from tracemill.client.call import API, Asked, Call, as_shape


def stats(
    where: str | None = None,
    *,
    group_by: Sequence[str] = (),
    first_day: date | str | None = None,
    last_day: date | str | None = None,
) -> Call[Stats]:
    """Count what the store holds, and under `usage` what calls used and cost.

    Args:
        where: Selects the calls of `usage`, as in docs/filter.md; None for all.
        group_by: What the groups of `usage` are by, such as `model` and `day`; docs/cost.md names all.
        first_day: First day of `usage`, UTC, as a date or like `2026-01-31`; None for the first there is.
        last_day: Last day of `usage`; None for the last there is.
    """
    query = {
        "where": where,
        "group_by": ",".join(group_by) or None,
        "from": None if first_day is None else str(first_day),
        "to": None if last_day is None else str(last_day),
    }
    return Call(Asked("stats", "GET", f"{API}/stats", query), as_shape(Stats))
