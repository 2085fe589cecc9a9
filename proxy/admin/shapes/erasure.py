"""Erasures, as the admin side takes and gives them."""

from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.shape import Given, Id, Json, Taken, Time
from store.erasing.selector import MAX_TRACES

_Text = Annotated[str, Field(min_length=1, max_length=65536)]


class ErasureTaken(Taken):
    """What is to be erased: exactly one of these."""

    traces: Annotated[list[Id] | None, Field(min_length=1, max_length=MAX_TRACES, description="Trace ids.")] = None
    session: Annotated[_Text | None, Field(description="All traces of a session, as the client named it.")] = None
    user: Annotated[_Text | None, Field(description="All traces of a user, as the client named it.")] = None
    conversation: Annotated[_Text | None, Field(description="All traces of a conversation, by its id.")] = None
    where: Annotated[
        _Text | None, Field(description="All traces that an expression of the [filter language](filter.md) selects.")
    ] = None


class ErasureAccepted(Given):
    """The erasure is on the disk and will be done; `/admin/api/erasures/{id}` tells how far it is."""

    change_id: Id


class Erasure(Given):
    """An erasure, and how far it is."""

    id: Id
    phase: Annotated[
        str,
        Field(description="`asked`, then the phases of [retention.md](retention.md), and `done`."),
    ]
    asked_at: Annotated[Time | None, Field(description="Null while ingest has not come to it.")]
    finished_at: Annotated[Time | None, Field(description="When the last byte was gone; null until then.")]
    result: Annotated[
        dict[str, Json],
        Field(
            description="Counts so far, and folders of datasets that held any; `error` and `failures` while it fails."
        ),
    ]
    trace_ids: Annotated[list[Id], Field(description="Of the erased traces, at most 1,000.")]
