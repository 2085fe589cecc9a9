"""Charts of a report as inline SVG, made by hand: no script, no style of their own, a text for each mark."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from processing.foreign_text import visible

WIDTH = 720
LEFT = 210
_ROW = 26
_SMALL = 1e-3
_BAR = 16


class Bar(NamedTuple):
    """One bar, as parts that follow each other.

    Attributes:
        parts: Style class and size of each.
        note: Text behind it.
    """

    label: str
    parts: Sequence[tuple[str, float]]
    note: str


class Mark(NamedTuple):
    """A mean with its interval, both in [0, 1]; without ends only the mean is drawn."""

    label: str
    mean: float
    low: float | None
    high: float | None
    kind: str


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Draw horizontal bars, one a row, on one scale."""
    most = max((sum(size for _, size in row.parts) for row in rows), default=0) or 1
    scale = (WIDTH - LEFT - 150) / most
    drawn = []
    for number, row in enumerate(rows):
        top, left = number * _ROW + 4, float(LEFT)
        drawn.append(label_text(row.label, top))
        for kind, size in row.parts:
            drawn.append(f'<rect class="{kind}" x="{left:.1f}" y="{top}" width="{size * scale:.1f}" height="{_BAR}"/>')
            left += size * scale
        drawn.append(f'<text class="note" x="{left + 6:.1f}" y="{top + 12}">{text(row.note)}</text>')
    return svg(title, len(rows) * _ROW + 4, drawn)


def columns(title: str, counts: Sequence[int], labels: Sequence[str]) -> str:
    """Draw a histogram with a count above and a label below each column."""
    most, height = max(counts, default=0) or 1, 120
    step = (WIDTH - 20) / max(len(counts), 1)
    drawn = []
    for number, (count, label) in enumerate(zip(counts, labels, strict=True)):
        tall, left = count / most * height, 10 + number * step
        top = 20 + height - tall
        drawn.append(f'<rect class="kept" x="{left:.1f}" y="{top:.1f}" width="{step - 6:.1f}" height="{tall:.1f}"/>')
        middle = left + (step - 6) / 2
        drawn.append(f'<text class="note mid" x="{middle:.1f}" y="{top - 5:.1f}">{count}</text>')
        drawn.append(f'<text class="axis mid" x="{middle:.1f}" y="{height + 36}">{text(label)}</text>')
    return svg(title, height + 44, drawn)


def intervals(title: str, marks: Sequence[Mark]) -> str:
    """Draw means and their intervals on a scale from 0 to 1."""
    left, right = float(LEFT), float(WIDTH - 60)
    height = len(marks) * _ROW + 22
    drawn = []
    for place in (0, 0.25, 0.5, 0.75, 1):
        x = left + (right - left) * place
        drawn.append(f'<line class="grid" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - 18}"/>')
        drawn.append(f'<text class="axis mid" x="{x:.1f}" y="{height - 4}">{place:g}</text>')
    for number, mark in enumerate(marks):
        top = number * _ROW + 4
        y, x = top + 8, left + (right - left) * mark.mean
        drawn.append(label_text(mark.label, top))
        if mark.low is not None and mark.high is not None:
            low, high = (left + (right - left) * end for end in (mark.low, mark.high))
            drawn.append(f'<line class="{mark.kind} range" x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}"/>')
        drawn.append(f'<circle class="{mark.kind}" cx="{x:.1f}" cy="{y}" r="5"/>')
        drawn.append(f'<text class="note" x="{right + 8:.1f}" y="{top + 12}">{mark.mean:.3f}</text>')
    return svg(title, height, drawn)


def number_text(value: float) -> str:
    """Write a number as people read it: a small one without an exponent, as far as nine places tell it."""
    if isinstance(value, int) or abs(value) >= _SMALL or not round(value, 9):
        return f"{value:,}"
    return f"{value:.9f}".rstrip("0")


def text(value: object) -> str:
    """Write foreign text into HTML, as text and nothing else."""
    return escape(visible(str(value)), quote=True)


def label_text(label: str, top: float) -> str:
    """Write the label of a row, to the left of the charts' left edge."""
    return f'<text class="label end" x="{LEFT - 10}" y="{top + 12}">{text(label)}</text>'


def svg(title: str, height: float, drawn: Sequence[str], *, width: float = WIDTH) -> str:
    """Put a chart together of what is drawn in it."""
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{text(title)}">'
    return f'<div class="wide">{head}<title>{text(title)}</title>{"".join(drawn)}</svg></div>'
