"""The statements that give the traces of a selection in the order of time and id, from any place on."""

from store.filter import Filter

_NEXT_TRACES = """
    SELECT t.* FROM traces t
    WHERE (t.created_at, t.id) > (:place_time, :place_id) AND t.number <= :newest_row AND ({where})
"""
_IN_ORDER = " ORDER BY created_at, id LIMIT :count"
_EARLIER_TRACES = """
    SELECT t.* FROM traces t
    WHERE (t.created_at, t.id) < (:place_time, :place_id) AND t.number <= :newest_row AND ({where})
"""
_NEWEST_FIRST = " ORDER BY created_at DESC, id DESC LIMIT :count"


def selection_sql(selection: Filter, *, newest_first: bool) -> str:
    """Write the statement that gives the next traces of a selection, from an index in the order of time."""
    part, order = (_EARLIER_TRACES, _NEWEST_FIRST) if newest_first else (_NEXT_TRACES, _IN_ORDER)
    conditions = selection.either or (selection.sql,)
    return " UNION ALL ".join([part.replace("{where}", condition) for condition in conditions]) + order
