"""A plan as a person reads it."""

from collections.abc import Sequence

from processing.plan import Plan, PlannedStep

_HEAD = ("step", "model", "known", "calls", "at most", "prompt tokens", "answer tokens", "cost", "at most")


def plan_text(plan: Plan) -> str:
    """Write a plan as a table, with what it rests on below."""
    told = f"{plan.conversations} conversations; {plan.train} examples for train, {plan.test} for test."
    if plan.unscored:
        told += f" {plan.unscored} conversations are not scored yet and count as relevant."
    return "\n".join([told, "", *step_lines(plan.steps, cost=plan.cost, most_cost=plan.most_cost)])


def step_lines(steps: Sequence[PlannedStep], *, cost: float | None, most_cost: float | None) -> list[str]:
    """Write the steps of a plan as a table with their sum below."""
    rows = [_HEAD, *(_row(step) for step in steps)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    expected, most = sum(step.expected for step in steps), sum(step.most for step in steps)
    total = f"In all {expected:,} calls, {most:,} at most"
    if cost is not None and most_cost is not None:
        total += f", for {cost:,.2f}, {most_cost:,.2f} at most"
    elif most:
        total += "; the cost is unknown, since a model has no price"
    return [*(_line(row, widths) for row in rows), "", f"{total}. Tokens are estimated; corrections are not counted."]


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
