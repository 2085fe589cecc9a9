"""Every operation of the admin API, once, by resource: what is asked, and what the answer is read as."""

from tracemill.client.operations import (
    change,
    cluster,
    conversation,
    dataset,
    erasure,
    evaluation,
    feedback,
    health,
    imports,
    job,
    review,
    stats,
    trace,
)

__all__ = [
    "change",
    "cluster",
    "conversation",
    "dataset",
    "erasure",
    "evaluation",
    "feedback",
    "health",
    "imports",
    "job",
    "review",
    "stats",
    "trace",
]
