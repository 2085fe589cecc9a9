"""Charts of an evaluation as inline SVG: scores, cost against score, latency, confusion."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from processing.baseline import JUDGE
from processing.report_chart import LEFT, WIDTH, label_text, number_text, svg, text
from store.datasets.evaluation import Evaluation
from store.recorded.message import Json

COLOURS = 8
_TELLING = (JUDGE, "accuracy", "tool_call_equivalence", "rouge")
_ROW = 24
_LABEL_CHARS = 30
_PLOT_HEIGHT = 250
_CELL = 34
_SHARES = (0, 0.25, 0.5, 0.75, 1)
_STEPS = (1, 2, 5)


class Side(NamedTuple):
    """A contender in charts and tables: what it is called there, and its evaluation."""

    name: str
    evaluation: Evaluation

    def score(self, metric: str) -> Mapping[str, Json] | None:
        """The score by a metric with its interval; None where there is none."""
        found: Mapping[str, Json] | None = self.evaluation.metrics["scores"].get(metric)
        return None if found is None or found["mean"] is None else found


def main_metric(sides: Sequence[Side], metrics: Sequence[str]) -> str:
    """Choose the metric that charts of one metric show: the judge's where there is one, else the most telling one."""
    scored = [metric for metric in metrics if any(side.score(metric) for side in sides)]
    return next((metric for metric in _TELLING if metric in scored), (*scored, *metrics, "")[0])


def score_chart(sides: Sequence[Side], metrics: Sequence[str]) -> str:
    """Draw every score with its interval, the contenders below each other by metric."""
    drawn: list[str] = []
    left, right = float(LEFT), float(WIDTH - 60)
    top = 0
    for metric in metrics:
        shown = [(number, side, found) for number, side in enumerate(sides) if (found := side.score(metric))]
        if not shown:
            continue
        drawn.append(f'<text class="head end" x="{LEFT - 10}" y="{top + 16}">{text(metric)}</text>')
        bottom = top + 24 + len(shown) * _ROW
        for share in _SHARES:
            x = left + (right - left) * share
            drawn.append(f'<line class="grid" x1="{x:.1f}" y1="{top + 22}" x2="{x:.1f}" y2="{bottom}"/>')
        for row, (number, side, found) in enumerate(shown):
            y = top + 24 + row * _ROW
            drawn.append(label_text(_short(side.name), y + 2))
            drawn.append(_mark(found, number, y + 10, left, right))
        top = bottom + 10
    for share in _SHARES if drawn else ():
        x = left + (right - left) * share
        drawn.append(f'<text class="axis mid" x="{x:.1f}" y="{top + 6}">{share:g}</text>')
    return svg("Scores with 95 % intervals", top + 14, drawn) if drawn else ""


def _mark(found: Mapping[str, Json], number: int, y: float, left: float, right: float) -> str:
    kind, x = f"m{number % COLOURS}", left + (right - left) * found["mean"]
    drawn = ""
    if found["low"] is not None and found["high"] is not None:
        low, high = (left + (right - left) * found[end] for end in ("low", "high"))
        drawn = f'<line class="{kind} range" x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}"/>'
    note = f'<text class="note" x="{right + 8:.1f}" y="{y + 4}">{found["mean"]:.3f}</text>'
    return f'{drawn}<circle class="{kind}" cx="{x:.1f}" cy="{y}" r="5"/>{note}'


def cost_chart(sides: Sequence[Side], metric: str) -> str:
    """Draw the score by what a row costs, on a scale of powers of ten; contenders without a cost stand aside."""
    shown = [
        (number, side, found)
        for number, side in enumerate(sides)
        if side.evaluation.cost["per_row"] and (found := side.score(metric))
    ]
    if not shown:
        return ""
    axis = _Axis.of([side.evaluation.cost["per_row"] for _, side, _ in shown], 70, WIDTH - 40)
    drawn = [*_share_grid(metric), *axis.drawn("cost per row")]
    taken: list[tuple[float, float]] = []
    for number, side, found in shown:
        x, kind = axis.place(side.evaluation.cost["per_row"]), f"m{number % COLOURS}"
        if found["low"] is not None:
            low, high = _height(found["low"]), _height(found["high"])
            drawn.append(f'<line class="{kind} range" x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}"/>')
        y = _height(found["mean"])
        drawn.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="6"/>')
        is_right = x < WIDTH * 0.7
        place = f'x="{x + 11:.1f}"' if is_right else f'class="end" x="{x - 11:.1f}"'
        lift = lifts((x, y), taken, near=(WIDTH * 0.3, 15)) * 15
        drawn.append(f'<text {place} y="{y - 8 - lift:.1f}">{text(_short(side.name))}</text>')
    return svg(f"{metric} by cost per row", _PLOT_HEIGHT + 62, drawn)


def lifts(place: tuple[float, float], taken: list[tuple[float, float]], *, near: tuple[float, float]) -> int:
    """Count how many lines a label has to go up so as not to cover another; its place is noted in `taken`."""
    lift = 0
    while any(abs(place[0] - x) < near[0] and abs(place[1] - lift * near[1] - y) < near[1] for x, y in taken):
        lift += 1
    taken.append((place[0], place[1] - lift * near[1]))
    return lift


def latency_chart(sides: Sequence[Side]) -> str:
    """Draw, for each contender, the share of its answers that came within a time."""
    shown = [(number, side) for number, side in enumerate(sides) if side.evaluation.latency["curve_ms"]]
    if not shown:
        return ""
    times = [max(ms, 0.1) for _, side in shown for ms in side.evaluation.latency["curve_ms"]]
    axis = _Axis.of(times, 70, WIDTH - 40)
    drawn = [*_share_grid("share of answers"), *axis.drawn("milliseconds")]
    for row, (number, side) in enumerate(shown):
        curve = side.evaluation.latency["curve_ms"]
        points = [
            f"{axis.place(max(ms, 0.1)):.1f},{_height(share / (len(curve) - 1)):.1f}" for share, ms in enumerate(curve)
        ]
        kind = f"m{number % COLOURS}"
        drawn.append(f'<polyline class="{kind} curve" points="{" ".join(points)}"/>')
        y = 22 + row * 18
        drawn.append(f'<line class="{kind} range" x1="82" y1="{y}" x2="104" y2="{y}"/>')
        drawn.append(f'<text x="111" y="{y + 4}">{text(_short(side.name))}</text>')
    return svg("How long answers take", _PLOT_HEIGHT + 62, drawn)


def confusion_chart(side: Side) -> str:
    """Draw how often each class was answered as each; the diagonal is right."""
    found = side.evaluation.metrics.get("confusion")
    if not found or not found["classes"]:
        return ""
    columns = [*found["classes"], found["other"]]
    left, top = 170, 110
    drawn = []
    for number, name in enumerate(columns):
        x = left + number * _CELL + _CELL / 2
        place = f'transform="translate({x:.0f} {top - 8}) rotate(-40)"'
        drawn.append(f'<text class="axis" {place}>{text(_short(name, 18))}</text>')
    for row, (name, counts) in enumerate(zip(found["classes"], found["counts"], strict=True)):
        y, all_ = top + row * _CELL, sum(counts) or 1
        drawn.append(f'<text class="end" x="{left - 8}" y="{y + _CELL / 2 + 4}">{text(_short(name, 22))}</text>')
        for column, count in enumerate(counts):
            x = left + column * _CELL
            kind = "cell-none" if not count else "cell-right" if column == row else "cell-wrong"
            shade = 1 if not count else 0.25 + 0.6 * count / all_
            size = f'x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" fill-opacity="{shade:.2f}"'
            drawn.append(f'<rect class="cell {kind}" {size}/>')
            if count:
                drawn.append(f'<text class="mid" x="{x + _CELL / 2}" y="{y + _CELL / 2 + 4}">{count}</text>')
    width = max(left + len(columns) * _CELL + 90, 430)
    chart = svg(
        f"What {side.name} answered, by what was right", top + len(found["classes"]) * _CELL + 6, drawn, width=width
    )
    return chart.replace("<svg ", '<svg class="small" ', 1)


class _Axis(NamedTuple):
    """A horizontal scale of powers of ten, from a round number to a round number."""

    low: float
    high: float
    left: float
    right: float

    @classmethod
    def of(cls, values: Sequence[float], left: float, right: float) -> "_Axis":
        low, high = min(values), max(values)
        ticks = ticks_between(low * 0.6, high * 1.7)
        return cls(min(ticks[0], low * 0.8), max(ticks[-1], high * 1.25), left, right)

    def place(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.left + share * (self.right - self.left)

    def drawn(self, title: str) -> list[str]:
        bottom = _height(0)
        drawn = []
        for tick in ticks_between(self.low, self.high):
            x = self.place(tick)
            drawn.append(f'<line class="grid" x1="{x:.1f}" y1="10" x2="{x:.1f}" y2="{bottom}"/>')
            shown = number_text(int(tick) if tick >= 1 else tick)
            drawn.append(f'<text class="axis mid" x="{x:.1f}" y="{bottom + 18}">{shown}</text>')
        middle = (self.left + self.right) / 2
        drawn.append(f'<text class="axis mid" x="{middle:.1f}" y="{bottom + 40}">{text(title)}</text>')
        return drawn


def ticks_between(low: float, high: float) -> list[float]:
    """Round numbers from the one below `low` to the one above `high`; powers of ten alone where there are many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = _STEPS if last - first <= 3 else (1,)
    every = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    inside = [tick for tick in every if low <= tick <= high]
    return inside or [10.0**first, 10.0**last]


def _share_grid(title: str) -> list[str]:
    drawn = [
        f'<text class="axis mid" transform="translate(16 {10 + _PLOT_HEIGHT / 2}) rotate(-90)">{text(title)}</text>'
    ]
    for share in _SHARES:
        y = _height(share)
        drawn.append(f'<line class="grid" x1="70" y1="{y:.1f}" x2="{WIDTH - 40}" y2="{y:.1f}"/>')
        drawn.append(f'<text class="axis end" x="62" y="{y + 4:.1f}">{share:g}</text>')
    return drawn


def _height(share: float) -> float:
    return 10 + _PLOT_HEIGHT * (1 - share)


def _short(name: str, most: int = _LABEL_CHARS) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
