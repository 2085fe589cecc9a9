"""The steps by which an active version became what it is, in their order: what a rebuild takes again.

The manifest holds under `curation` what each stage was given the last time, and under `steps` which stages ran, in
which order, and how many decisions of people there were by then. What a stage was given before that stands in its step.
"""

from collections.abc import Mapping
from typing import Any, Final

from store.datasets.covering import FILTER, JUDGE

Json = Any
CURATION: Final = "curation"
"""Where the manifest holds the settings of the stages."""
STEPS: Final = "steps"
ADD: Final = "add"
"""The step in which rows were added; what made them stands in the manifest under `added`, in the same order."""


def with_step(
    manifest: Mapping[str, Json], stage: str, *, decisions: int, is_continued: bool = False
) -> list[dict[str, Json]]:
    """Give the steps of a version with one more; a step that the new one makes void is left out.

    Args:
        manifest: Of the version, with the settings that the stage had so far.
        stage: Its name.
        decisions: How many decisions there were when it began.
        is_continued: It only went on with what it had done: a threshold moved, or rows without a part got one.
    """
    taken = [dict(one) for one in manifest.get(STEPS) or ()]
    if taken and _is_void(taken[-1], stage, is_continued=is_continued):
        taken.pop()
    else:
        settings = (manifest.get(CURATION) or {}).get(stage)
        for one in taken:
            if one["stage"] == stage and stage != ADD:
                one.setdefault("settings", settings)
    return [*taken, {"stage": stage, "decisions": decisions, **({"is_continued": True} if is_continued else {})}]


def steps_of(manifest: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Give the steps of a version in their order, each with its settings."""
    curation = manifest.get(CURATION) or {}
    return [{"settings": curation.get(one["stage"]), **one} for one in manifest.get(STEPS) or ()]


def _is_void(last: Mapping[str, Json], stage: str, *, is_continued: bool) -> bool:
    """Whether the ends are derived anew from the new settings alone."""
    if last["stage"] != stage:
        return False
    return stage == FILTER or (stage == JUDGE and is_continued and bool(last.get("is_continued")))
