"""Tables of a page."""

from collections.abc import Iterable


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; no cell holds a `|` of its own."""
    names = list(head)
    return row(names) + f"|{'---|' * len(names)}\n" + "".join(map(row, rows))


def row(cells: Iterable[str]) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |\n"
