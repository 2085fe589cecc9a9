"""Where evaluations are written for people: a page, plots, predictions."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from processing.errors import InputError
from processing.evaluation.comparison import Comparison
from processing.evaluation.cutoffs import Held
from processing.evaluation.page import evaluation_page, sides_of
from processing.evaluation.plots import require_matplotlib, write_plots
from store.datasets.evaluation import Evaluation

Plot = Annotated[Path | None, typer.Option(help="Folder for plots as PNG files; needs the extra `plots`.")]
Html = Annotated[Path | None, typer.Option(help="File for one HTML page with charts.")]


class Shown(NamedTuple):
    """What a page or plots show.

    Attributes:
        evaluations: In their order.
        comparison: Of them; None for one alone.
        metrics: Those to show.
        warnings: What a reader has to know first.
        held: Bounds that were asked for.
    """

    evaluations: Sequence[Evaluation]
    comparison: Comparison | None
    metrics: Sequence[str]
    warnings: Sequence[str] = ()
    held: Sequence[Held] = ()


def check_files(plot: Path | None, html: Path | None) -> None:
    """See that the page and the plots can be written, before anything is paid for what they show.

    Raises:
        InputError: One cannot be.
    """
    if html is not None:
        if html.is_dir():
            raise InputError(str(html), "is a folder. Choose another --html.")
        _check_folder(html.parent, "--html")
    if plot is not None:
        require_matplotlib()
        _check_folder(next(path for path in (plot, *plot.parents) if path.exists()), "--plot")


def _check_folder(folder: Path, option: str) -> None:
    if not folder.is_dir():
        raise InputError(str(folder), f"is no folder. Make it, or choose another {option}.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(str(folder), f"cannot be written by this user. Choose another {option}.")


async def write_files(shown: Shown, plot: Path | None, html: Path | None) -> list[Path]:
    """Write the page and the plots that are wanted; give the files.

    Raises:
        InputError: Plots are wanted, and matplotlib is not installed.
        OSError: A file cannot be written.
    """
    written = []
    if html is not None:
        page = evaluation_page(
            shown.evaluations, shown.comparison, shown.metrics, warnings=shown.warnings, held=shown.held
        )
        write_private(html, page.encode("utf-8", "replace"))
        written.append(html)
    if plot is not None:
        written += write_plots(sides_of(shown.evaluations, shown.comparison), shown.metrics, plot)
    return written


def write_private(path: Path, content: bytes) -> None:
    """Write a file for this user alone. Raises OSError when it cannot be written."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
