"""Every kind of job that there is, and how each is checked and run."""

from collections.abc import Mapping

from store.job_kind import JobKind
from tracemill.job_kinds.attempt import KindOfWork
from tracemill.job_kinds.process import PROCESS

KINDS: Mapping[JobKind, KindOfWork] = {
    JobKind.PROCESS: PROCESS,
}
