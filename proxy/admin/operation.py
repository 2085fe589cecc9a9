"""One thing that the admin side can be asked, declared once.

The declaration makes the route, reads and checks the request before the handler sees it, and is what the OpenAPI
document and the reference page are made from. So nothing is served that is not described, and nothing described that
is not served.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, RootModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from proxy.admin.bearer import Bearer, Scope
from proxy.admin.context import Context
from proxy.admin.guard import BEARER
from proxy.admin.parameter import Parameter, read_query
from proxy.admin.refusal import AdminRefusal, Code

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

KIB = 1024
JSON = "application/json"
LINES = "application/x-ndjson"
BYTES = "application/octet-stream"
TEXT = "text/plain"
MARKDOWN = "text/markdown"
HTML = "text/html"


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries.

    Attributes:
        shape: The model of a JSON body, which is read whole; None for lines, which the handler reads as they come.
        max_bytes: Longer bodies are refused.
        is_exact: The shape only describes; the handler reads the very text by `Asked.blocks`.
        exact_type: What a body without a shape is, where it is no lines.
    """

    shape: type[BaseModel] | None
    max_bytes: int = 256 * KIB
    is_exact: bool = False
    exact_type: str = LINES

    @property
    def media_type(self) -> str:
        """The one `Content-Type` that is taken: no form of a web page can send it, which keeps foreign pages out."""
        return self.exact_type if self.shape is None else JSON


@dataclass(frozen=True, slots=True)
class Good:
    """The answer when nothing is wrong.

    Attributes:
        meaning: What it tells.
        shape: The model of its JSON; None when it is no JSON object.
        media_type: What the answer is.
        status: 2xx.
        also: What it is where another form is asked for.
    """

    meaning: str
    shape: type[BaseModel] | None = None
    media_type: str = JSON
    status: int = 200
    also: tuple[str, ...] = ()


class Asked:
    """One request, read and checked by its operation's declaration.

    Attributes:
        who: Whose token it came with: `admin`, `read`, or `local` where none is asked for.
    """

    def __init__(self, request: Request, values: dict[str, object], body: BaseModel | None, max_bytes: int) -> None:
        self.who: str = request.scope[BEARER].name
        self._request = request
        self._values = values
        self._body = body
        self._max_bytes = max_bytes

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
        """Give a part of the path by its name in the operation's path."""
        return str(self._request.path_params[name])

    def path_id(self, name: str) -> UUID | None:
        """Give a part of the path as an id; None where it can be none."""
        try:
            return UUID(self.path(name))
        except ValueError:
            return None

    def body(self, shape: type[M]) -> M:
        """Give the JSON body; `shape` is the one that the operation declares."""
        assert isinstance(self._body, shape), "an operation reads the body that it declares"  # noqa: S101
        return self._body

    def blocks(self) -> AsyncIterator[bytes]:
        """Give a body of lines, or of exact text, as it comes in.

        Raises:
            AdminRefusal: It is longer than the operation takes.
        """
        return _bounded(self._request, self._max_bytes)


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
    body: Body | None = None
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
        body = await self._read_body(request)
        max_bytes = 0 if self.body is None else self.body.max_bytes
        return await self.handler(context, Asked(request, values, body, max_bytes))

    async def _read_body(self, request: Request) -> BaseModel | None:
        if self.body is None:
            return None
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != self.body.media_type:
            raise AdminRefusal(
                Code.UNSUPPORTED_MEDIA_TYPE,
                f"The body is {given[:80] or 'of no named type'!r}; send `Content-Type: {self.body.media_type}`.",
            )
        if self.body.shape is None or self.body.is_exact:
            return None
        whole = b"".join([block async for block in _bounded(request, self.body.max_bytes)])
        try:
            return self.body.shape.model_validate_json(whole)
        except ValidationError as exc:
            raise _not_the_shape(exc, is_one_of_several=issubclass(self.body.shape, RootModel)) from exc


async def _bounded(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    told = request.headers.get("content-length", "")
    if told.isascii() and told.isdigit() and (len(told) > 18 or int(told) > max_bytes):
        raise _too_large(max_bytes)
    total = 0
    async for block in request.stream():
        total += len(block)
        if total > max_bytes:
            raise _too_large(max_bytes)
        yield block


def _too_large(max_bytes: int) -> AdminRefusal:
    return AdminRefusal(Code.BODY_TOO_LARGE, f"The body is longer than {max_bytes} bytes, the most that is taken here.")


def _not_the_shape(error: ValidationError, *, is_one_of_several: bool) -> AdminRefusal:
    """Tell the first fault by its place; the value stays out, as it may be content."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # Of several shapes, the first part tells which one was held against the body.
    parts = [str(part) for part in first["loc"][is_one_of_several:]]
    # What stands in brackets is a type that was tried, no member.
    place = ".".join(part for part in parts if "[" not in part)
    at = f"member {place!r}: " if place else ""
    return AdminRefusal(Code.INVALID_BODY, f"The body cannot be taken: {at}{first['msg']}.", param=place or None)
