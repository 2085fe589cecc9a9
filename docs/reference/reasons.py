"""The page of the closed lists of reasons."""

from enum import Enum

from docs.reference.members import member_texts
from docs.reference.table import table
from processing.answer import Fault
from processing.clusters.promotion import PromoteReason
from processing.convert import SkipReason
from processing.datasets.choice import GenerateReason
from processing.datasets.record import RecordFault
from processing.datasets.row_filter import CurationReason
from processing.datasets.row_form import RowFault
from processing.datasets.upload_report import UploadReason
from processing.ledger import Reason
from store.clusters.cluster import Apart
from store.datasets.decided_row import ReviewReason
from store.datasets.review import Why
from store.recorded.errors import RejectReason

HEAD = """# Reasons

Made by `make docs` from the lists in `processing/`; change them there. The lists are closed and the texts stable.
Every input of a run ends in exactly one place, and `report.json` counts each; the counts add up at every stage, or the
run fails.
"""
REASONS = (
    (
        "How conversations and examples end",
        "Column `reason` of `dropped.jsonl`, `failed.jsonl` and `review.jsonl`, and the funnel of `report.json`.",
        Reason,
    ),
    (
        "Lines and traces that cannot be read",
        "Column `reason` of `rejected.jsonl`, with the line itself.",
        RejectReason,
    ),
    (
        "Assistant messages that are no target",
        "Counted under `converted` in `report.json`; the message stays in the history of later targets.",
        SkipReason,
    ),
    ("Teacher calls without an answer", "Named in the votes of a row and in messages.", Fault),
    (
        "How rows of an uploaded file end",
        "As `tracemill datasets rows` and the report of `tracemill datasets upload` have it; see uploading.md.",
        UploadReason,
    ),
    ("Records of a file that cannot be read", "They count as failed.", RecordFault),
    ("Records that are no rows", "They count as failed, in uploads and among prompts.", RowFault),
    (
        "How answers to prompts end",
        "As `tracemill datasets rows` and the report of `tracemill generate` have it; see uploading.md.",
        GenerateReason,
    ),
    (
        "How the calls of a cluster end",
        "As `tracemill clusters promote` has it, beside reasons of assistant messages and of rows; see clusters.md.",
        PromoteReason,
    ),
    ("Traces that are in no cluster", "As `tracemill clusters list` counts them; see clusters.md.", Apart),
    (
        "How judge and filter end rows",
        "As `tracemill datasets rows`, `judge` and `filter` have it; see curation.md.",
        CurationReason,
    ),
    ("What people decide about rows", "The reason of a row whose stage is `review`; see curation.md.", ReviewReason),
    ("Why a row is worth a person's time", "As `tracemill review` has it; see curation.md.", Why),
)


def reasons_page() -> str:
    """Return the page of all reasons for which something is left out."""
    return HEAD + "".join(f"\n## {title}\n\n{where}\n\n{_members(kind)}" for title, where, kind in REASONS)


def _members(kind: type[Enum]) -> str:
    return table(("reason", "meaning"), [(f"`{kind[name].value}`", text) for name, text in member_texts(kind).items()])
