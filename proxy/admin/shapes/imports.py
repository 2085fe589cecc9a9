"""What came of an import, as the admin side gives it."""

from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.shape import Given, one_of
from store.recorded.errors import RejectReason
from store.recorded.source_format import SourceFormat

Count = Annotated[int, Field(ge=0)]
StoreCount = Annotated[int | None, Field(ge=0)]


class RejectedRecord(Given):
    """A record that could not be read."""

    line: Annotated[int, Field(ge=1, description="Number of the line, from 1.")]
    reason: Annotated[str, one_of(RejectReason)]
    detail: Annotated[str, Field(description="One sentence for a person; holds no content.")]


class ImportReport(Given):
    """`records` = `stored` + `duplicates` + `left_out` + `joined` + `rejected`."""

    lines: Annotated[Count, Field(description="All lines, blank ones too.")]
    records: Annotated[Count, Field(description="What the lines held: one each, or several where the format has that.")]
    traces: Annotated[Count, Field(description="Records that became a trace.")]
    stored: Annotated[
        StoreCount,
        Field(description="In the store now, and not before; null where nothing was to be stored, or it is not yet."),
    ]
    duplicates: Annotated[StoreCount, Field(description="There before, or more than once in what was sent.")]
    left_out: Annotated[
        StoreCount, Field(description="Not stored: somebody had them erased, or no column can hold them.")
    ]
    joined: Annotated[Count, Field(description="Lines of our own export that were one trace with the line before.")]
    rejected: Annotated[Count, Field(description="Records that could not be read.")]
    reasons: Annotated[dict[str, int], Field(description=f"How many for each reason: {', '.join(RejectReason)}.")]
    formats: Annotated[dict[str, int], Field(description=f"Records by format: {', '.join(SourceFormat)}.")]
    first_rejected: Annotated[list[RejectedRecord], Field(description="The first of them, at most a hundred.")]
