"""Every kind of job that there is, and how each is checked and run."""

from collections.abc import Mapping

from store.job_kind import JobKind
from tracemill.job_kinds.attempt import KindOfWork
from tracemill.job_kinds.births import GENERATE, UPLOAD
from tracemill.job_kinds.clusters import CLUSTERS, PROMOTE
from tracemill.job_kinds.curation import FILTER, JUDGE, REVIEW, SPLIT
from tracemill.job_kinds.evaluation import EVALUATE
from tracemill.job_kinds.process import PROCESS

KINDS: Mapping[JobKind, KindOfWork] = {
    JobKind.PROCESS: PROCESS,
    JobKind.UPLOAD: UPLOAD,
    JobKind.GENERATE: GENERATE,
    JobKind.JUDGE: JUDGE,
    JobKind.FILTER: FILTER,
    JobKind.SPLIT: SPLIT,
    JobKind.REVIEW: REVIEW,
    JobKind.CLUSTERS: CLUSTERS,
    JobKind.PROMOTE: PROMOTE,
    JobKind.EVALUATE: EVALUATE,
}
