"""Evaluations: what the answers of one model to a frozen version came to, with every answer.

An evaluation is named by what was asked of whom: version hash, part, the model's server and name, and the settings that
decide the numbers. Evaluating the same once more is the same evaluation, written anew; nothing is paid for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from store import json_text

Json = Any
RECORDED: Final = "recorded"
"""The contender that asks nobody: the original model's answers as the rows hold them."""
_ID_BYTES = 8
_ID_KEY = b"tracemill-evaluation-1"
_CALLS_OF_ROW = """(
    SELECT call_key FROM predictions WHERE row_hash = :key AND call_key IS NOT NULL
    UNION SELECT judge_call FROM predictions WHERE row_hash = :key AND judge_call IS NOT NULL
)"""
ERASE_PREDICTIONS: Final = (
    # Whatever traces the calls were about: a row of a file was made from none that the store knows.
    f"DELETE FROM verdicts WHERE call_key IN {_CALLS_OF_ROW}",  # noqa: S608 - our own text
    f"DELETE FROM call_sources WHERE call_key IN {_CALLS_OF_ROW}",  # noqa: S608
    f"DELETE FROM calls WHERE key IN {_CALLS_OF_ROW}",  # noqa: S608
    """
    UPDATE evaluations SET erased = erased + (
        SELECT count(*) FROM predictions p WHERE p.evaluation_id = evaluations.evaluation_id AND p.row_hash = :key
    ) WHERE evaluation_id IN (SELECT evaluation_id FROM predictions WHERE row_hash = :key)
    """,
    "DELETE FROM predictions WHERE row_hash = :key",
)
"""What erases all that models and judges said about a row, by its hash; in this order, in one transaction.

The evaluations stay, marked with how many of their answers went: their numbers name no row."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer with its scores.

    Attributes:
        row_id: The row it belongs to.
        row_hash: Of that row, hexadecimal.
        target: Position of the reference among the row's messages.
        conversation_id: Answers of one conversation are not independent.
        answer: The model's message in OpenAI's form; None when there is none that counts.
        failure: Why there is none; None when there is one.
        scores: Metric to score in [0, 1]; None where it cannot be computed.
        judging: How the judge's score came about; None where the judge had nothing to do.
        call_key: The call that answered; None for recorded answers, and for one that is not remembered.
        judge_call: The judge's call.
        cost: Of the answer, in the currency of the prices; None when unknown.
        duration_ms: Of the answer; None when it was not measured.
    """

    row_id: str
    row_hash: str
    target: int
    conversation_id: str
    answer: Mapping[str, Json] | None
    failure: str | None
    scores: Mapping[str, float | None]
    judging: str | None = None
    call_key: bytes | None = None
    judge_call: bytes | None = None
    cost: float | None = None
    duration_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the answers of one model came to.

    Attributes:
        evaluation_id: From `evaluation_id`.
        dataset: Name of the dataset.
        version: Number of the version.
        version_hash: Of the version.
        test_hash: Over what the asked rows teach; scores over different ones must not be compared.
        part: `test`, `train` or `all`.
        model: Name in the configuration, or `recorded`.
        identity: The model's server and its name there.
        settings: What else decides the numbers.
        metrics: `scores`, `classes`, `confusion`, `strata`; see docs/evaluation.md, also for the next three.
        cost: Of the answers, the judge's apart.
        latency: Percentiles.
        counts: Rows, answers, failures, what the judge did.
        created_at: UTC, RFC 3339.
        erased: Predictions that were erased since, with their rows; the numbers still count them.
    """

    evaluation_id: str
    dataset: str
    version: int
    version_hash: str
    test_hash: str
    part: str
    model: str
    identity: str
    settings: Mapping[str, Json]
    metrics: Mapping[str, Json]
    cost: Mapping[str, Json]
    latency: Mapping[str, Json]
    counts: Mapping[str, Json]
    created_at: str = ""
    erased: int = field(default=0)

    @property
    def label(self) -> str:
        """The version that was asked: `invoices-v3`."""
        return f"{self.dataset}-v{self.version}"

    def as_json(self) -> dict[str, Json]:
        """Give everything but the predictions."""
        written = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"evaluation_id": written.pop("evaluation_id"), "reference": self.label, **written}


def evaluation_id(*, version_hash: str, part: str, identity: str, settings: Mapping[str, Json]) -> str:
    """Name an evaluation by what was asked of whom; the order of the settings does not matter."""
    ordered = {name: settings[name] for name in sorted(settings)}
    text = json_text.dumps([version_hash, part, identity, ordered])
    return blake2b(text, digest_size=_ID_BYTES, key=_ID_KEY).hexdigest()
