"""Which evaluations may be compared, and which of several that a model has are."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from processing.errors import InputError
from store.datasets.evaluation import Evaluation
from store.datasets.version import Version
from store.recorded.message import Json

_SETTINGS = {"suite": "--task", "expand_tool_calling_turns": "evaluation.expand_tool_calling_turns"}
"""Scores under different ones are different measures; by the names under which people set them."""
_SHOWN_HASH = 12


class Chosen(NamedTuple):
    """The newest evaluations of some models that are alike.

    Attributes:
        evaluations: One for each model, in their order.
        notes: Which newer ones were passed over, and why.
    """

    evaluations: tuple[Evaluation, ...]
    notes: tuple[str, ...]


def check_alike(one: Evaluation, other: Evaluation) -> None:
    """See that two evaluations rest on the same rows, asked and scored alike.

    Raises:
        InputError: They do not; the message tells why.
    """
    if one.test_hash != other.test_hash:
        raise InputError(
            "compare",
            f"{_named(one)} and {_named(other)} were measured by different rows: their test hashes are "
            f"{one.test_hash[:_SHOWN_HASH]}… and {other.test_hash[:_SHOWN_HASH]}…. Evaluate both on one version.",
        )
    for name, shown in _SETTINGS.items():
        if one.settings[name] != other.settings[name]:
            raise InputError(
                "compare",
                f"{_named(one)} and {_named(other)} were scored differently: {shown} was {one.settings[name]} and "
                f"{other.settings[name]}. Evaluate one of them again.",
            )


def choose_alike(models: Sequence[str], evaluations: Sequence[Evaluation], version: Version, part: str) -> Chosen:
    """Choose one evaluation of each model, so that all are alike and as new as can be.

    Args:
        models: Different ones.
        evaluations: Of the version and part, the newest first.
        version: For messages.
        part: The same.

    Raises:
        InputError: A model was not evaluated, or no evaluations of all models are alike.
    """
    of_model = {model: [one for one in evaluations if one.model == model] for model in models}
    for model in models:
        if not of_model[model]:
            known = ", ".join(dict.fromkeys(one.model for one in evaluations)) or "no model"
            raise InputError(
                f"model {model}",
                f"was not evaluated on {version.label}, part {part} ({known} was). Run `tracemill evaluate "
                f"{version.label} --model {model} --part {part}`.",
            )
    for candidate in evaluations:
        taken = [next((one for one in of_model[model] if _kind(one) == _kind(candidate)), None) for model in models]
        found = tuple(one for one in taken if one is not None)
        if len(found) == len(models):
            return Chosen(found, tuple(_passed_over(found, of_model)))
    has = "; ".join(f"{model} with {_how(of_model[model][0])}" for model in models)
    first = of_model[models[0]][0]
    raise InputError(
        "compare",
        f"no evaluations of {' and '.join(models)} on {version.label} are scored alike: the newest of {has}. Run "
        f"`tracemill evaluate {version.label} --part {part} --task {first.settings['suite']}` for those that lack it.",
    )


def _passed_over(taken: Sequence[Evaluation], of_model: Mapping[str, Sequence[Evaluation]]) -> list[str]:
    notes = []
    for one in taken:
        its = of_model[one.model]
        for newer in its[: its.index(one)]:
            lacking = [model for model, there in of_model.items() if _kind(newer) not in map(_kind, there)]
            notes.append(
                f"{one.model}: {one.evaluation_id} is compared. {newer.evaluation_id} is newer and was scored with "
                f"{_how(newer)}, and none of {' and '.join(lacking)} was."
            )
    return notes


def _kind(one: Evaluation) -> tuple[Json, ...]:
    return (one.test_hash, *(one.settings[name] for name in _SETTINGS))


def _how(one: Evaluation) -> str:
    return ", ".join(f"{shown} {one.settings[name]}" for name, shown in _SETTINGS.items())


def _named(one: Evaluation) -> str:
    return f"{one.evaluation_id} ({one.model} on {one.label})"
