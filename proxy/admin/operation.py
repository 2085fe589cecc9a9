"""One thing that the admin side can be asked, declared once.

The declaration makes the route, reads and checks the request before the handler sees it, and is what the OpenAPI
document and the reference page are made from. So nothing is served that is not described, and nothing described that
is not served.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.bearer import Bearer, Scope
from proxy.admin.body import Body
from proxy.admin.context import Context
from proxy.admin.guard import BEARER
from proxy.admin.media_type import JSON
from proxy.admin.parameter import Parameter, read_query
from proxy.admin.path_part import read_part
from proxy.admin.refusal import AdminRefusal, Code

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")
M = TypeVar("M", bound="BaseModel")

_NO_BODY: Body[Any] = Body(None, max_bytes=0)


@dataclass(frozen=True, slots=True)
class Good:
    """The answer when nothing is wrong.

    Attributes:
        meaning: What it tells.
        shape: Name of the shape of its JSON; None when it is no JSON object.
        media_type: What the answer is.
        status: 2xx.
        also: What it is where another form is asked for.
    """

    meaning: str
    shape: str | None = None
    media_type: str = JSON
    status: int = 200
    also: tuple[str, ...] = ()


class Asked:
    """One request, read and checked by its operation's declaration.

    Attributes:
        who: Whose token it came with: `admin`, `read`, or `local` where none is asked for.
    """

    def __init__(
        self, request: Request, values: dict[str, object], declared: Body[Any], body: "BaseModel | None"
    ) -> None:
        self.who: str = request.scope[BEARER].name
        self._request = request
        self._values = values
        self._declared = declared
        self._body = body

    def __getitem__(self, parameter: Parameter[T]) -> T:
        """Give a parameter's value, its default where the query has none."""
        value: T = self._values[parameter.name]  # type: ignore[assignment]
        return value

    @property
    def is_head(self) -> bool:
        """Whether only the head of the answer is asked for."""
        return self._request.method == "HEAD"

    def text(self, parameter: Parameter[Any]) -> str | None:
        """Give a parameter as it was written; None where the query has none."""
        return self._request.query_params.get(parameter.name)

    def header(self, name: str) -> str:
        """Give a header field's value, empty where there is none."""
        return self._request.headers.get(name, "")

    def path(self, name: str) -> str:
        """Give a part of the path by its name in the operation's path, decoded; it may hold a slash."""
        return read_part(self._request.path_params[name])

    def path_id(self, name: str) -> UUID | None:
        """Give a part of the path as an id; None where it can be none."""
        try:
            return UUID(self.path(name))
        except ValueError:
            return None

    def body(self, declared: Body[M]) -> M:
        """Give the JSON body that the operation declares."""
        assert self._declared is declared, "an operation reads the body that it declares"  # noqa: S101
        body: M = self._body  # type: ignore[assignment]
        return body

    def blocks(self) -> AsyncIterator[bytes]:
        """Give a body of lines, or of exact text, as it comes in.

        Raises:
            AdminRefusal: It is longer than the operation takes.
        """
        return self._declared.blocks(self._request)


Handler = Callable[[Context, Asked], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One declaration: what is asked by which method and path, and what comes back.

    Attributes:
        name: Unique; the `operationId`, and the name that a client's method has or is listed under.
        summary: One sentence for the reference.
        handler: Answers; what it raises becomes an error of the one shape.
        later: The answer where what was asked is written down, and will be done.
        scope: What the token must allow.
        parameters: The query's; any other is refused.
        path_parts: What stands in braces in the path, each with its meaning.
        body: What the request carries; None for nothing.
        errors: Codes beyond those that any operation may answer.
        tag: The resource, for the reference.
    """

    name: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    summary: str
    handler: Handler
    good: Good
    later: Good | None = None
    scope: Scope = Scope.READ
    parameters: tuple[Parameter[Any], ...] = ()
    path_parts: tuple[tuple[str, str], ...] = ()
    body: Body[Any] | None = None
    errors: tuple[Code, ...] = ()
    tag: str = ""

    async def answer(self, context: Context, request: Request) -> Response:
        """Read the request by the declaration and have it answered.

        Raises:
            AdminRefusal: The request is not what the declaration says.
        """
        bearer: Bearer = request.scope[BEARER]
        if not bearer.may(self.scope):
            raise AdminRefusal(
                Code.SCOPE_MISSING, f"The token {bearer.name!r} may read and not change; send the one of admin_token."
            )
        values = read_query(request.query_params, self.parameters)
        body = None if self.body is None else await self.body.read(request)
        return await self.handler(context, Asked(request, values, self.body or _NO_BODY, body))
