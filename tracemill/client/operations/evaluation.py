"""Evaluations: listed, shown, with every answer, and held against each other."""

from collections.abc import Sequence

from proxy.admin.shapes.evaluation import Comparison, Evaluation, EvaluationPage
from tracemill.client.call import API, PAGE, Asked, Call, Lines, Page, Pages, as_shape, part


def evaluation_page(
    version: str | None = None, *, cursor: str | None = None, limit: int | None = None
) -> Call[EvaluationPage]:
    """Give one page of evaluations, the newest first.

    Args:
        version: Only those of a version, `NAME-v3`, or of a dataset, `NAME`.
        cursor: `next_cursor` of the page before; None for the first.
        limit: Most evaluations of the page, up to 500; None for 50.
    """
    query = {"version": version, "cursor": cursor, "limit": limit}
    return Call(Asked("list_evaluations", "GET", f"{API}/evaluations", query), as_shape(EvaluationPage))


def evaluations(version: str | None = None) -> Pages[Evaluation]:
    """Give all evaluations, the newest first, page by page as they are taken.

    Args:
        version: Only those of a version, `NAME-v3`, or of a dataset, `NAME`.
    """

    def at(cursor: str | None) -> Call[Page[Evaluation]]:
        found = evaluation_page(version, cursor=cursor, limit=PAGE)
        return Call(found.asked, found.read)

    return Pages(at)


def evaluation(id: str) -> Call[Evaluation]:  # noqa: A002
    """Give one evaluation.

    Args:
        id: Its id, or the first four digits of it or more.
    """
    return Call(Asked("get_evaluation", "GET", f"{API}/evaluations/{part(id)}"), as_shape(Evaluation))


def evaluation_predictions(id: str) -> Lines:  # noqa: A002
    """Give every answer of an evaluation with its scores, a line of JSON each.

    Args:
        id: Its id.
    """
    return Lines(Asked("evaluation_predictions", "GET", f"{API}/evaluations/{part(id)}/predictions"))


def compare(ids: Sequence[str]) -> Call[Comparison]:
    """Hold evaluations of the same rows against each other.

    Args:
        ids: Their ids, two or more.
    """
    query = {"ids": ",".join(ids)}
    return Call(Asked("compare_evaluations", "GET", f"{API}/comparisons", query), as_shape(Comparison))
