"""A table that fits the terminal it is shown in."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len

_GAP = "  "


class Column(NamedTuple):
    """One column: its name, a cell for each row, and whether they are numbers, which stand to the right."""

    name: str
    cells: Sequence[str]
    is_number: bool = False


def terminal_width() -> int | None:
    """Give how many cells a line of standard output has; None where it is no terminal, which has no bound."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fitted_lines(columns: Sequence[Column], width: int | None) -> Iterator[str]:
    """Give the lines of a table, its names first.

    Columns that do not fit are left out from the right, and a last line says which: a value that is cut short, an id
    above all, cannot be used again. The first column is there at any width.

    Args:
        columns: What one looks for first stands first.
        width: Of the terminal, in cells; None for no bound.
    """
    shown: list[list[str]] = []
    left_out: list[str] = []
    used = 0
    for name, cells, is_number in columns:
        texts = [name, *cells]
        widest = max(cell_len(text) for text in texts)
        used += widest + (len(_GAP) if shown else 0)
        if left_out or (shown and width is not None and used > width):
            left_out.append(name)
        else:
            blanks = (" " * (widest - cell_len(text)) for text in texts)
            shown.append(
                [blank + text if is_number else text + blank for text, blank in zip(texts, blanks, strict=True)]
            )
    for line in zip(*shown, strict=True):
        yield _GAP.join(line).rstrip()
    if left_out:
        yield f"Too narrow for: {', '.join(left_out)}. --json has everything."
