"""Evaluations and comparisons, as the admin side gives them."""

from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.shape import Cursor, Given, JsonObject, Time


class Evaluation(Given):
    """What the answers of one model to a frozen version came to."""

    evaluation_id: Annotated[
        str, Field(description="Named by what was asked of whom: evaluating the same again is the same.")
    ]
    reference: Annotated[str, Field(description="The version that was asked: `invoices-v3`.")]
    dataset: str
    version: int
    version_hash: str
    test_hash: Annotated[str, Field(description="Scores over different ones must not be compared.")]
    part: str
    model: Annotated[str, Field(description="Its name, or `recorded` for the answers that the rows hold.")]
    identity: Annotated[str, Field(description="The model's server and its name there.")]
    settings: Annotated[JsonObject, Field(description="What else decides the numbers.")]
    metrics: Annotated[JsonObject, Field(description="See [evaluation.md](evaluation.md), also for the next three.")]
    cost: JsonObject
    latency: JsonObject
    counts: JsonObject
    created_at: Time
    erased: Annotated[int, Field(ge=0, description="Predictions that were erased since, with their rows.")]


class EvaluationPage(Given):
    """Some evaluations, the newest first."""

    data: list[Evaluation]
    next_cursor: Cursor


class Comparison(Given):
    """Evaluations of the same rows side by side."""

    test_hash: str
    sides: Annotated[list[JsonObject], Field(description="Scores, cost and latency of each.")]
    differences: Annotated[
        list[JsonObject], Field(description="Of every pair by every metric, with intervals clustered by conversation.")
    ]
    notes: list[str]
