"""The one shape of every error."""

from typing import Annotated, Literal

from pydantic import Field

from proxy.admin.shapes.shape import Given


class ErrorFacts(Given):
    """What went wrong."""

    message: Annotated[str, Field(description="What happened, with which input, how to mend it; for a person.")]
    type: Literal["tracemill_error"]
    param: Annotated[str | None, Field(description="The parameter or the body's member at fault.")]
    code: Annotated[str, Field(description="Which error; stable.")]


class ErrorAnswer(Given):
    """The answer to whatever cannot be done."""

    error: ErrorFacts
