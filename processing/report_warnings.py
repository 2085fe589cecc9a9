"""What a person should know before using a dataset."""

from collections.abc import Mapping, Sequence

from processing.candidates import Task
from processing.curated import Curated
from processing.filter import length_of
from processing.model_family import family_of
from processing.split import Split

FEW_ROWS = 200


def warnings_of(
    rows: Mapping[str, int], split: Split, task: Task, curated: Curated | None, base_models: Sequence[str] = ()
) -> list[str]:
    """Say what a person should know before using the dataset.

    Args:
        rows: File name to rows written.
        split: The parts and what they share.
        task: The task.
        curated: The person's own test set.
        base_models: Models that wrote the recorded answers, as far as they are known.
    """
    found: list[str] = []
    train = rows["train.jsonl"]
    if train < FEW_ROWS:
        found.append(f"train has {train} rows; below {FEW_ROWS} a student tends to overfit (500 to 2000 are good).")
    if not rows["test.jsonl"]:
        found.append("test is empty, so nothing can be measured: more conversations are needed.")
    if not split.leakage.is_free:
        found.append(
            f"train and test share {split.leakage.exact} equal and {split.leakage.near} nearly equal prompts "
            f"and {split.leakage.groups} groups: scores on test will look better than they are."
        )
    if rows["failed.jsonl"]:
        found.append(f"{rows['failed.jsonl']} things failed: failed.jsonl tells why; run again to try them again.")
    if rows["review.jsonl"]:
        found.append(
            f"{rows['review.jsonl']} things wait in review.jsonl for a person, and stand in no part until then."
        )
    found += _kin(task, base_models)
    wanted = task.config.trace_processing
    if not wanted.relevance_filtering:
        found.append("relevance filtering is off: failures and conversations about other things may be in train.")
    if not wanted.relabel:
        found.append("relabel is off: labels are the recorded replies, which the base model cannot be scored against.")
    if curated is not None:
        found.append("test is your own file and holds no recorded answers of the base model: it is not scored on test.")
        limit = task.config.synthgen.validation_max_total_length
        long = sum(length_of(example.messages) > limit for example in curated.examples)
        if long:
            found.append(f"{long} rows of {curated.name} are longer than validation_max_total_length ({limit}).")
    if task.config.ineffective:
        found.append(f"keys without effect here: {', '.join(task.config.ineffective)}.")
    return found


def _kin(task: Task, base_models: Sequence[str]) -> list[str]:
    """Warn of a judge that would judge its own kin; classification has no judge."""
    wanted = task.config.trace_processing
    if not (wanted.relabel and wanted.evaluate_original_model) or task.config.base.task == "classification":
        return []
    judge = task.config.evaluation.llm_as_a_judge_model_name
    found = []
    for what, models in (("committee", task.config.committee), ("base model", base_models)):
        kin = sorted({model for model in models if family_of(model) == family_of(judge)})
        if kin:
            found.append(
                f"the judge {judge} is of the same family as {', '.join(kin)} ({what}): "
                "judges lean towards answers of their own kin; hold some verdicts against your own."
            )
    return found
