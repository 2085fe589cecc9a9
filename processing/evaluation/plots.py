"""The charts of an evaluation as PNG files, drawn by matplotlib; the same evaluation gives the same bytes.

Nothing of matplotlib that depends on a screen, a home directory's settings or the time of day is used.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processing.errors import InputError
from processing.evaluation.charts import COLOURS, Side, lifts, main_metric, ticks_between
from processing.foreign_text import visible
from processing.report_chart import number_text
from store.recorded.message import Json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#2f7d6b", "#3566b0", "#c47f12", "#9c3f78", "#7256bd", "#b04a2a", "#55606f", "#64841d")
_INK, _DIM, _LINE = "#1d2330", "#5b6474", "#d8dde6"
_LABEL_CHARS = 34
_MOST_CLASSES = 20
_LEAST_MS = 0.1
_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _DIM,
    "axes.titlecolor": _INK,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "xtick.color": _DIM,
    "ytick.color": _DIM,
    "legend.frameon": False,
    # A model's name may hold a dollar sign, which is no formula.
    "text.parse_math": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def require_matplotlib() -> None:
    """See that plots can be drawn. Raises InputError when matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise InputError("--plot", "needs matplotlib. Install it with: pip install 'tracemill[plots]'.")


def write_plots(sides: Sequence[Side], metrics: Sequence[str], folder: Path) -> list[Path]:
    """Write the plots that there are numbers for: scores, cost, latency, and a confusion matrix for each contender.

    Args:
        sides: The contenders.
        metrics: Those to show.
        folder: Made when it is not there; files of the same names are replaced.

    Returns:
        The files, in the order of the page.

    Raises:
        InputError: matplotlib is not installed.
        OSError: The folder cannot be written.
    """
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    main = main_metric(sides, metrics)
    plots: dict[str, Callable[[Figure], bool]] = {
        "scores.png": partial(_scores, sides=sides, metrics=metrics),
        "cost.png": partial(_cost, sides=sides, metric=main),
        "latency.png": partial(_latency, sides=sides),
        **{f"confusion-{number}.png": partial(_confusion, side=side) for number, side in enumerate(sides, 1)},
    }
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = []
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
        for name, draw in plots.items():
            figure = Figure(layout=ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.12), dpi=150)
            FigureCanvasAgg(figure)
            if draw(figure):
                figure.savefig(folder / name, format="png", metadata={"Software": None})
                written.append(folder / name)
    return written


def _scores(figure: "Figure", sides: Sequence[Side], metrics: Sequence[str]) -> bool:
    shown = [metric for metric in metrics if any(side.score(metric) for side in sides)]
    if not shown:
        return False
    figure.set_size_inches(8.4, 1.3 + len(shown) * (0.42 + 0.3 * len(sides)))
    axes = figure.subplots()
    places, labels, place = [], [], 0.0
    for metric in shown:
        axes.text(-0.012, place, metric, transform=axes.get_yaxis_transform(), ha="right", va="center", weight="bold")
        for number, side in enumerate(sides):
            found = side.score(metric)
            if found is None:
                continue
            place += 1
            _mark(axes, found, place, _colour(number))
            places.append(place)
            labels.append(_plain(side.name))
        place += 1.5
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(place - 0.7, -0.7)
    axes.set_xlim(0, 1.0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_title("Scores with 95 % intervals")
    return True


def _mark(axes: "Axes", found: Mapping[str, Json], place: float, colour: str) -> None:
    if found["low"] is not None:
        axes.plot([found["low"], found["high"]], [place, place], color=colour, lw=3, solid_capstyle="round")
    axes.plot([found["mean"]], [place], "o", color=colour, ms=7, mec="white", mew=1, clip_on=False)
    right = axes.get_yaxis_transform()
    axes.text(1.012, place, f"{found['mean']:.3f}", transform=right, va="center", color=_DIM, fontsize=9)


def _cost(figure: "Figure", sides: Sequence[Side], metric: str) -> bool:
    shown = [
        (number, side, found)
        for number, side in enumerate(sides)
        if side.evaluation.cost["per_row"] and (found := side.score(metric))
    ]
    if not shown:
        return False
    figure.set_size_inches(7.6, 4.6)
    axes = figure.subplots()
    costs = [side.evaluation.cost["per_row"] for _, side, _ in shown]
    _log_axis(axes, costs)
    taken: list[tuple[float, float]] = []
    for number, side, found in shown:
        cost, colour = side.evaluation.cost["per_row"], _colour(number)
        if found["low"] is not None:
            axes.plot([cost, cost], [found["low"], found["high"]], color=colour, lw=3, solid_capstyle="round")
        axes.plot([cost], [found["mean"]], "o", color=colour, ms=9, mec="white", mew=1.2)
        is_left = cost > min(costs) and cost == max(costs)
        # In points: the plot is some 250 high and spans what costs do.
        across = 400 * math.log(cost / min(costs)) / math.log(max(costs) / min(costs) * 2.56)
        lift = lifts((across, -250 * found["mean"]), taken, near=(150, 13))
        axes.annotate(
            _plain(side.name),
            (cost, found["mean"]),
            xytext=(-10 if is_left else 10, 8 + 13 * lift),
            textcoords="offset points",
            ha="right" if is_left else "left",
        )
    axes.set_ylim(-0.02, 1.02)
    axes.grid(visible=True)
    axes.set_xlabel("cost per row, in the currency of the configured prices")
    axes.set_ylabel(metric)
    axes.set_title(f"{metric} by cost")
    return True


def _latency(figure: "Figure", sides: Sequence[Side]) -> bool:
    shown = [(number, side) for number, side in enumerate(sides) if side.evaluation.latency["curve_ms"]]
    if not shown:
        return False
    figure.set_size_inches(7.6, 4.6 + 0.2 * len(shown))
    axes = figure.subplots()
    times: list[float] = []
    for number, side in shown:
        curve = [max(ms, _LEAST_MS) for ms in side.evaluation.latency["curve_ms"]]
        times += curve
        shares = [share / (len(curve) - 1) for share in range(len(curve))]
        half, most = side.evaluation.latency["p50_ms"], side.evaluation.latency["p90_ms"]
        label = f"{_plain(side.name)}: p50 {half:,.0f} ms, p90 {most:,.0f} ms"
        axes.plot(curve, shares, color=_colour(number), lw=2.4, label=label)
    _log_axis(axes, times)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(visible=True)
    axes.set_xlabel("milliseconds to the last byte of the answer")
    axes.set_ylabel("share of answers")
    axes.set_title("How long answers take")
    figure.legend(loc="outside lower center", fontsize=9)
    return True


def _confusion(figure: "Figure", side: Side) -> bool:
    found = side.evaluation.metrics.get("confusion")
    if not found or not 0 < len(found["classes"]) <= _MOST_CLASSES:
        return False
    rows, columns = found["classes"], [*found["classes"], found["other"]]
    size = 0.46
    figure.set_size_inches(2.9 + size * len(columns), 2.4 + size * len(rows))
    axes = figure.subplots()
    for row, counts in enumerate(found["counts"]):
        all_ = sum(counts) or 1
        for column, count in enumerate(counts):
            colour = _COLOURS[0] if row == column else "#c0453b"
            shade = 0.2 + 0.65 * count / all_ if count else 0
            axes.fill([column - 0.5, column + 0.5, column + 0.5, column - 0.5], [row - 0.5] * 2 + [row + 0.5] * 2,
                      color=colour if count else "#f5f7fa", alpha=shade or 1, lw=0)  # fmt: skip
            if count:
                ink = "white" if shade > 0.6 else _INK
                axes.text(column, row, str(count), ha="center", va="center", color=ink, fontsize=9)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xticks(range(len(columns)), [_plain(name, 20) for name in columns], rotation=40, ha="right")
    axes.set_yticks(range(len(rows)), [_plain(name, 20) for name in rows])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("answered")
    axes.set_ylabel("right")
    axes.set_title(_plain(side.name))
    return True


def _log_axis(axes: "Axes", values: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter

    low, high = min(values) / 1.6, max(values) * 1.6
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    # matplotlib's own choice goes to places like 0.00225 where the scale is short.
    axes.xaxis.set_major_locator(FixedLocator(ticks_between(low, high)))
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))
    axes.minorticks_off()


def _tick(value: float, _place: Any) -> str:  # noqa: ANN401 - what matplotlib gives
    return number_text(int(value) if value >= 1 else value)


def _colour(number: int) -> str:
    return _COLOURS[number % COLOURS]


def _plain(name: str, most: int = _LABEL_CHARS) -> str:
    """A foreign name in the letters that the font has; others are shown as escapes."""
    shown = visible(name if len(name) <= most else f"{name[: most - 1]}…")
    return "".join(letter if _has_glyph(letter) else f"\\u{ord(letter):04x}" for letter in shown).replace("\n", " ")


def _has_glyph(letter: str) -> bool:
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return letter.isspace() or font.get_char_index(ord(letter)) != 0
