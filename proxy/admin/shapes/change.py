"""A change that was asked for, and what became of it, as the admin side gives it."""

from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.shape import Cursor, Given, Id, Json, Time, one_of
from store.change import ChangeKind


class Change(Given):
    """Something that was asked of the store, or that left it: a line of the audit log."""

    id: Id
    kind: Annotated[str, one_of(ChangeKind), Field(description="What was asked.")]
    asked_at: Time
    asked_by: Annotated[
        str | None,
        Field(
            description="Whose token: `admin`, `read`, or `local` where none is needed; of a command the user's name."
        ),
    ]
    applied_at: Time
    finished_at: Annotated[Time | None, Field(description="When the last step was done; null while steps are left.")]
    result: Annotated[dict[str, Json], Field(description="What came of it: counts and ids, never contents.")]


class ChangePage(Given):
    """Some changes, the last applied first."""

    data: list[Change]
    next_cursor: Cursor


class Accepted(Given):
    """What was asked is written down and will be done; `/admin/api/changes/{id}` tells when it is."""

    change_id: Id
