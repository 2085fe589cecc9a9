"""Every kind of job that there is, and how each is checked and run.

What a kind stands on is imported when it is asked for: a job of one kind does not wait for the modules of all.
"""

from collections.abc import Callable, Mapping

from store.job_kind import JobKind
from tracemill.job_kinds.attempt import KindOfWork


def kind_of_work(kind: JobKind) -> KindOfWork:
    """Give how jobs of a kind are checked and run."""
    return _KINDS[kind](kind)


def _process(_kind: JobKind) -> KindOfWork:
    from tracemill.job_kinds.process import PROCESS

    return PROCESS


def _upload(_kind: JobKind) -> KindOfWork:
    from tracemill.job_kinds.upload import UPLOAD

    return UPLOAD


def _generation(_kind: JobKind) -> KindOfWork:
    from tracemill.job_kinds.generation import GENERATE

    return GENERATE


def _curation(kind: JobKind) -> KindOfWork:
    from tracemill.job_kinds.curation import STAGES

    return STAGES[kind]


def _clusters(kind: JobKind) -> KindOfWork:
    from tracemill.job_kinds.clusters import CLUSTERS, PROMOTE

    return CLUSTERS if kind is JobKind.CLUSTERS else PROMOTE


def _evaluation(_kind: JobKind) -> KindOfWork:
    from tracemill.job_kinds.evaluation import EVALUATE

    return EVALUATE


_KINDS: Mapping[JobKind, Callable[[JobKind], KindOfWork]] = {
    JobKind.PROCESS: _process,
    JobKind.UPLOAD: _upload,
    JobKind.GENERATE: _generation,
    JobKind.JUDGE: _curation,
    JobKind.FILTER: _curation,
    JobKind.SPLIT: _curation,
    JobKind.REVIEW: _curation,
    JobKind.CLUSTERS: _clusters,
    JobKind.PROMOTE: _clusters,
    JobKind.EVALUATE: _evaluation,
}
