"""Evaluations and comparisons as plain lines for a terminal."""

from collections.abc import Sequence
from typing import TypeGuard

from processing.evaluation.charts import Side
from processing.evaluation.comparison import Comparison
from processing.evaluation.cutoffs import Held
from processing.evaluation.evaluate import Evaluated
from processing.evaluation.tables import comparison_table, cost_table, score_table
from processing.report_chart import number_text
from processing.report_tables import Table
from store.datasets.evaluation import Evaluation
from store.recorded.message import Json
from tracemill.count_text import counted
from tracemill.fitted_table import Column, fitted_lines
from tracemill.terminal_text import one_line

_CELL_CHARS = 44
_INDENT = "  "
_MOST_STRATA = 12


def evaluation_text(
    sides: Sequence[Side], metrics: Sequence[str], comparison: Comparison | None, width: int | None
) -> str:
    """Tell the scores, the costs and how the contenders differ.

    Args:
        sides: The contenders.
        metrics: Those that are told.
        comparison: Of the contenders; None to leave it out.
        width: Of the terminal, in cells, which tables are fitted to; None for no bound.
    """
    parts = [
        "\n".join(f"{one.evaluation.evaluation_id}  {_heading(one.evaluation)}" for one in sides),
        _table(score_table(sides, metrics), width),
        _table(cost_table(sides), width),
    ]
    if comparison is not None:
        parts.append(comparison_text(comparison, metrics, width))
    return "\n\n".join(parts)


def comparison_text(comparison: Comparison, metrics: Sequence[str], width: int | None) -> str:
    """Tell how contenders differ, pair by pair; the width as in `evaluation_text`."""
    return "\n".join([_table(comparison_table(comparison, metrics), width), *comparison.notes])


def bill_line(found: Evaluated) -> str:
    """Tell what kind of answers were scored, and what all the calls behind the numbers cost."""
    calls = [
        f"{purpose} {counted(bill.calls, 'call')}, "
        + ("cost unknown" if bill.cost is None else number_text(bill.cost))
        + (f" ({bill.without_cost:,} of unknown cost)" if bill.cost is not None and bill.without_cost else "")
        for purpose, bill in found.bill.items()
    ]
    return "; ".join([f"scored as {found.suite}", *calls])


def held_lines(held: Sequence[Held]) -> list[str]:
    """Write a line for each bound, and whether it is kept."""
    return [
        f"{'met    ' if one.is_met else 'NOT MET'}  {one_line(str(one.cutoff))}  {one_line(one.model)}: "
        f"{'unknown' if one.value is None else number_text(round(one.value, 6))}"
        for one in held
    ]


def evaluation_line(evaluation: Evaluation) -> str:
    """Write an evaluation as one line of a list."""
    scores = [
        f"{name} {one['mean']:.3f}" for name, one in evaluation.metrics["scores"].items() if one["mean"] is not None
    ]
    return one_line(
        f"{evaluation.evaluation_id}  {_heading(evaluation)}  {', '.join(scores)}  ({evaluation.created_at[:16]}Z)"
    )


def _heading(evaluation: Evaluation) -> str:
    answers = counted(evaluation.counts["answers"], "answer")
    return one_line(f"{evaluation.label} {evaluation.part}  {evaluation.model}  {answers}")


def strata_text(evaluation: Evaluation, metrics: Sequence[str], width: int | None) -> str:
    """Tell the groups in which a model did worst; the width as in `evaluation_text`."""
    lines = [
        (one["scores"][name]["mean"], one["kind"], one["name"], one["answers"], name)
        for one in evaluation.metrics["strata"]
        for name in metrics[:1]
        if one["scores"].get(name, {}).get("mean") is not None
    ]
    worst = sorted(lines)[:_MOST_STRATA]
    rows: list[Sequence[Json]] = [[kind, group, answers, round(mean, 4)] for mean, kind, group, answers, _ in worst]
    title = f"Where it did worst, by {metrics[0]}" if metrics else "Groups"
    return _table(Table(title, ["kind", "group", "answers", "score"], rows), width) if rows else ""


def _table(table: Table, width: int | None) -> str:
    """Lay a table out in columns; what is foreign is one safe line each."""
    if not table.lines:
        return f"{table.title}: none"
    columns = [
        Column(name, [_cell(value) for value in values], all(value is None or _is_number(value) for value in values))
        for name, values in zip(table.head, zip(*table.lines, strict=True), strict=True)
    ]
    lines = fitted_lines(columns, None if width is None else width - len(_INDENT))
    return "\n".join([table.title, *(_INDENT + line for line in lines)])


def _cell(value: Json) -> str:
    if value is None:
        return "-"
    return number_text(value) if _is_number(value) else one_line(str(value), _CELL_CHARS)


def _is_number(value: Json) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
