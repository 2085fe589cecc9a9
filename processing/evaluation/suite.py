"""Which metrics an answer is scored with, and the one place where a failure is turned into scores."""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

from processing.baseline import JUDGE
from processing.errors import InputError, UnknownMetricError
from processing.evaluation.item import Item, label_of, spoken
from processing.metrics import TEXT_METRICS, TOOL_METRICS, score_reply
from store.recorded.message import Message

_LABEL_CHARS = 60
_ROWS_A_LABEL = 3
"""Answers are taken for labels when there are so many of them for each different one, on average."""


class Suite(StrEnum):
    """What kind of answers are scored."""

    CLASSIFICATION = "classification"
    TOOL = "tool"
    TEXT = "text"


AUTO = "auto"
METRICS: dict[Suite, tuple[str, ...]] = {
    Suite.CLASSIFICATION: ("accuracy",),
    Suite.TOOL: (*TOOL_METRICS, JUDGE),
    Suite.TEXT: (*TEXT_METRICS, JUDGE),
}
"""Every metric by suite; the judge's is there when a judge is named."""
_TASKS = {Suite.CLASSIFICATION: "classification", Suite.TOOL: "tool-calling-closed-book", Suite.TEXT: "chat-completion"}


def check_metrics(names: Iterable[str], known: Sequence[str] | None = None) -> None:
    """See that metrics exist.

    Raises:
        UnknownMetricError: One does not; its text lists those there are.
    """
    there_are = list(dict.fromkeys(known or (name for suite in METRICS.values() for name in suite)))
    for name in names:
        if name not in there_are:
            raise UnknownMetricError(name, there_are)


def choose_suite(wanted: str, items: Sequence[Item], task: str | None = None) -> Suite:
    """Tell the suite: the one that is asked for, else by the task that made the rows, else by their answers.

    Args:
        wanted: Name of a suite, or `auto`.
        items: What is asked.
        task: `base.task` of the run that made the version; None where no run did.

    Raises:
        InputError: There is no such suite.
    """
    if wanted != AUTO:
        try:
            return Suite(wanted)
        except ValueError:
            raise InputError("--task", f'is "{wanted}"; expected auto, {", ".join(Suite)}.') from None
    if task is not None:
        return next((suite for suite in (Suite.CLASSIFICATION, Suite.TOOL) if suite.value in task), Suite.TEXT)
    if any(item.reference.tool_calls for item in items):
        return Suite.TOOL
    labels = Counter(label_of(item.reference) for item in items)
    are_short = all(len(label) <= _LABEL_CHARS and "\n" not in label for label in labels)
    if are_short and len(labels) > 1 and labels.total() >= _ROWS_A_LABEL * len(labels):
        return Suite.CLASSIFICATION
    return Suite.TEXT


def score(item: Item, prediction: Message | None, suite: Suite) -> dict[str, float | None]:
    """Score one answer; none at all is wrong by every metric that could have been computed.

    Args:
        item: With the reference.
        prediction: None when the model gave no answer, or one that was cut short.
        suite: Names the metrics.
    """
    task, tools = _TASKS[suite], item.example.tools
    if prediction is not None:
        return score_reply(spoken(prediction), item.reference, task=task, tools=tools)
    best = score_reply(item.reference, item.reference, task=task, tools=tools)
    return {name: None if value is None else 0.0 for name, value in best.items()}
