"""Shapes: the JSON that the admin side takes and gives, each declared once.

The OpenAPI document and the reference page are made from them, and `tracemill.Client` gives them to programs. So they
know nothing of HTTP and import nothing that serves.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Json = JsonValue
"""Any JSON value, as a client or an upstream sent it."""
JsonObject = dict[str, Json]
"""A JSON object."""


class Given(BaseModel):
    """What the admin side answers. A later server may add members, which are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Taken(BaseModel):
    """What a request's body asks. A member that means nothing here is refused: it would be ignored in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


def one_of(kind: type[StrEnum]) -> Any:  # noqa: ANN401 - pydantic's own type of a field
    """Declare a text that is one of a closed list today; a client takes what a later server adds to it."""
    return Field(json_schema_extra={"enum": [member.value for member in kind]})


Id = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
"""A UUID as text."""
Cursor = Annotated[
    str | None, Field(description="What the next page is asked with as `cursor`; null on the last page.")
]
Time = datetime
"""A time in UTC, ISO 8601."""
