"""docs/evaluation.md lists what there is: reasons of failures and metrics."""

import re
from pathlib import Path

from processing.evaluation.answering import FAILURES
from processing.evaluation.suite import METRICS

PAGE = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text("utf-8")


def test_every_reason_of_a_failure_has_its_line() -> None:
    table = PAGE.partition("### Failures")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) == sorted(FAILURES)


def test_every_metric_stands_in_the_line_of_its_task() -> None:
    for suite, names in METRICS.items():
        (line,) = re.findall(rf"^\| `{suite}` \| (.*) \|$", PAGE, re.MULTILINE)
        assert all(f"`{name}`" in line for name in names)
