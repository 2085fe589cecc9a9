"""An evaluation as one HTML page that needs nothing else: no network, no script, charts drawn into it."""

from collections.abc import Sequence

from processing.evaluation import tables
from processing.evaluation.charts import Side, confusion_chart, cost_chart, latency_chart, main_metric, score_chart
from processing.evaluation.comparison import Comparison
from processing.evaluation.cutoffs import Held
from processing.html_frame import html_frame, section, tiles, warnings_section
from store.datasets.evaluation import Evaluation

_MOST_CLASSES = 20
"""Classes of a confusion matrix that is drawn; of more, the table tells the most frequent mistakes."""


def sides_of(evaluations: Sequence[Evaluation], comparison: Comparison | None) -> list[Side]:
    """Name evaluations as their comparison does."""
    names = comparison.names if comparison is not None else [one.model for one in evaluations]
    return [Side(name, one) for name, one in zip(names, evaluations, strict=True)]


def evaluation_page(
    evaluations: Sequence[Evaluation],
    comparison: Comparison | None,
    metrics: Sequence[str],
    *,
    warnings: Sequence[str] = (),
    held: Sequence[Held] = (),
) -> str:
    """Write the page of one evaluation or several of the same rows.

    Args:
        evaluations: In the order of the page.
        comparison: Of them; None for one alone.
        metrics: Those to show, the one that matters most last.
        warnings: What a reader has to know first.
        held: Bounds that were asked for.
    """
    sides = sides_of(evaluations, comparison)
    first = evaluations[0]
    main = main_metric(sides, metrics)
    parts = [
        tiles(_facts(sides, main)),
        warnings_section(warnings),
        section(tables.cutoff_table(held)) if held else "",
        section(tables.score_table(sides, metrics), score_chart(sides, metrics)),
        section(tables.comparison_table(comparison, metrics)) if comparison is not None else "",
        section(tables.cost_table(sides), cost_chart(sides, main) + latency_chart(sides)),
    ]
    if any(side.evaluation.metrics.get("classes") for side in sides):
        for side in sides:
            is_drawn = len((side.evaluation.metrics.get("confusion") or {}).get("classes") or ()) <= _MOST_CLASSES
            parts.append(section(tables.confusion_table(side), confusion_chart(side) if is_drawn else ""))
        parts.append(section(tables.class_table(sides)))
    strata = tables.strata_table(sides, [main])
    parts += [section(strata) if strata.lines else "", section(tables.made_table(sides))]
    return html_frame(f"{first.label}: evaluation on {first.part}", [part for part in parts if part])


def _facts(sides: Sequence[Side], metric: str) -> list[tuple[str, object]]:
    counts = sides[0].evaluation.counts
    facts: list[tuple[str, object]] = [
        ("answers", f"{counts['answers']:,}"),
        ("conversations", f"{counts['conversations']:,}"),
    ]
    for side in sides:
        found = side.score(metric)
        facts.append((f"{metric}: {side.name}", "?" if found is None else f"{found['mean']:.3f}"))
    return facts
