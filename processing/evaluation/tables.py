"""The tables of an evaluation, for the page and the terminal.

What one looks for first stands first: a narrow terminal leaves columns out from the right.
"""

from collections.abc import Sequence

from processing.evaluation.charts import Side
from processing.evaluation.comparison import Comparison
from processing.evaluation.cutoffs import Held
from processing.report_tables import Table
from store.recorded.message import Json

_MOST_CONFUSIONS = 15


def score_table(sides: Sequence[Side], metrics: Sequence[str]) -> Table:
    """Every score with what it rests on."""
    lines: list[Sequence[Json]] = []
    for metric in metrics:
        for side in sides:
            one = side.evaluation.metrics["scores"].get(metric)
            if one is None:
                continue
            interval = None if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}"
            mean = None if one["mean"] is None else round(one["mean"], 4)
            lines.append([metric, side.name, mean, interval, one["rows"], one["conversations"], one["missing"]])
    head = ["metric", "model", "score", "95 % interval", "answers", "conversations", "not computed"]
    note = "Intervals count conversations, not rows. An answer that failed counts as wrong."
    return Table("Scores", head, lines, note)


def comparison_table(comparison: Comparison | None, metrics: Sequence[str]) -> Table:
    """Every pair of contenders, answer by answer."""
    lines = []
    for one in () if comparison is None else comparison.differences:
        if one.metric not in metrics:
            continue
        interval = None if one.low is None or one.high is None else f"{one.low:+.3f} to {one.high:+.3f}"
        mean = None if one.mean is None else f"{one.mean:+.4f}"
        record = f"{one.wins} / {one.ties} / {one.losses}"
        together = {True: "yes", False: "no"}[one.holds_together] if one.is_shown else None
        lines.append([one.metric, f"{one.first} − {one.second}", mean, one.verdict, interval, record, together])  # noqa: RUF001
    head = ["metric", "pair", "difference", "verdict", "95 % interval", "better / equal / worse", "holds together"]
    return Table("Side by side", head, lines, " ".join(() if comparison is None else comparison.notes))


def cost_table(sides: Sequence[Side]) -> Table:
    """What answers cost, how long they took, and how many did not count."""
    lines = []
    for side in sides:
        cost, latency, counts = side.evaluation.cost, side.evaluation.latency, side.evaluation.counts
        failures = ", ".join(f"{reason} {count}" for reason, count in counts["failures"].items())
        lines.append(
            [
                side.name,
                cost["per_row"],
                cost["total"],
                *(None if latency[name] is None else round(latency[name]) for name in ("p50_ms", "p90_ms", "p99_ms")),
                failures or 0,
                cost["rows_without_cost"],
                latency["unknown"],
            ]
        )
    times = ["p50 ms", "p90 ms", "p99 ms"]
    head = ["model", "cost per row", "in all", *times, "failed", "rows of unknown cost", "not timed"]
    note = "Costs are in the currency of the configured prices, the judge's apart. Times are of the answered attempt."
    return Table("Cost, time and failures", head, lines, note)


def class_table(sides: Sequence[Side]) -> Table:
    """Precision and recall of every class."""
    lines = [
        [name, side.name, *(round(one[key], 4) for key in ("precision", "recall", "f1-score")), one["support"]]
        for side in sides
        for name, one in (side.evaluation.metrics.get("classes") or {}).items()
    ]
    lines.sort(key=lambda line: -line[5])
    return Table("Classes", ["class", "model", "precision", "recall", "f1-score", "support"], lines)


def confusion_table(side: Side) -> Table:
    """What was most often taken for what."""
    found = side.evaluation.metrics.get("confusion") or {"classes": [], "counts": []}
    columns = [*found["classes"], found.get("other")]
    wrong = [
        [name, columns[column], count]
        for row, (name, counts) in enumerate(zip(found["classes"], found["counts"], strict=True))
        for column, count in enumerate(counts)
        if count and column != row
    ]
    wrong.sort(key=lambda line: -line[2])
    return Table(f"Taken for another: {side.name}", ["right", "answered", "times"], wrong[:_MOST_CONFUSIONS])


def strata_table(sides: Sequence[Side], metrics: Sequence[str]) -> Table:
    """The scores of every group of answers."""
    metric = metrics[-1] if metrics else ""
    lines = []
    for side in sides:
        for one in side.evaluation.metrics["strata"]:
            found = one["scores"].get(metric)
            if found is None or found["mean"] is None:
                continue
            interval = None if found["low"] is None else f"{found['low']:.3f} to {found['high']:.3f}"
            lines.append([one["kind"], one["name"], side.name, one["answers"], round(found["mean"], 4), interval])
    lines.sort(key=lambda line: (line[0], line[1]))
    return Table("Groups of answers", ["kind", "group", "model", "answers", metric, "95 % interval"], lines)


def cutoff_table(held: Sequence[Held]) -> Table:
    """Every bound, and whether it is kept."""
    lines = [
        [
            str(one.cutoff),
            one.model,
            "unknown" if one.value is None else round(one.value, 6),
            "✓ met" if one.is_met else "✗ NOT MET",
        ]
        for one in held
    ]
    return Table("Cutoffs", ["cutoff", "model", "value", ""], lines)


def made_table(sides: Sequence[Side]) -> Table:
    """What was asked of whom: enough to make it again."""
    lines = []
    for side in sides:
        one = side.evaluation
        judge = (one.settings.get("judge") or {}).get("model")
        lines.append(
            [one.evaluation_id, side.name, one.identity, one.label, one.part, one.test_hash[:16], judge, one.created_at]
        )
    head = ["evaluation", "model", "asked as", "version", "part", "test hash", "judge", "made"]
    return Table("How it was made", head, lines, "Scores over different test hashes are not compared.")
