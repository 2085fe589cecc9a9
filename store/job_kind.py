"""What a filed job does. A closed list: each kind is carried out by a module of `tracemill.job_kinds`."""

from enum import StrEnum


class JobKind(StrEnum):
    """What a filed job does."""

    PROCESS = "process"
    """Makes a dataset of traces of the store, as `tracemill process --from-store` does."""
    UPLOAD = "upload"
    """Makes a version of a file's rows."""
    GENERATE = "generate"
    """Makes a version of what a teacher answers to prompts."""
    JUDGE = "judge"
    """Has a judge score the rows of a version."""
    FILTER = "filter"
    """Drops rows of a version by rules, and by the scores that they have."""
    SPLIT = "split"
    """Shares the rows of a version out to train and test."""
    REVIEW = "review"
    """Chooses the rows of a version that are worth a person's time."""
    CLUSTERS = "clusters"
    """Puts traces that ask for the same kind of thing together."""
    PROMOTE = "promote"
    """Makes a version of a cluster's traces."""
    EVALUATE = "evaluate"
    """Asks models the test rows of a frozen version, and scores what they answer."""
