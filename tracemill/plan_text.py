"""A plan as a person reads it."""

from collections.abc import Sequence

from processing.plan import Plan, PlannedStep

_HEAD = ("step", "model", "known", "calls", "at most", "prompt tokens", "answer tokens", "cost", "at most")


def plan_text(plan: Plan) -> str:
    """Write a plan as a table, with what it rests on below."""
    rows = [_HEAD, *(_row(step) for step in plan.steps)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [_line(row, widths) for row in rows]
    told = f"{plan.conversations} conversations; {plan.train} examples for train, {plan.test} for test."
    if plan.unscored:
        told += f" {plan.unscored} conversations are not scored yet and count as relevant."
    calls = plan.as_json()["calls"]
    total = f"In all {calls['expected']:,} calls, {calls['most']:,} at most"
    if plan.cost is not None and plan.most_cost is not None:
        total += f", for {plan.cost:,.2f}, {plan.most_cost:,.2f} at most"
    elif calls["most"]:
        total += "; the cost is unknown, since a model has no price"
    return "\n".join([told, "", *lines, "", f"{total}. Tokens are estimated; corrections are not counted."])


def _row(step: PlannedStep) -> tuple[str, ...]:
    return (
        step.purpose,
        step.model,
        f"{step.known:,}",
        f"{step.expected:,}",
        f"{step.most:,}",
        f"{step.prompt_tokens:,}",
        f"{step.completion_tokens:,}",
        "unknown" if step.cost is None else f"{step.cost:,.2f}",
        "unknown" if step.most_cost is None else f"{step.most_cost:,.2f}",
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Put names to the left and numbers to the right."""
    cells = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
    return "  ".join(cells + [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)])
