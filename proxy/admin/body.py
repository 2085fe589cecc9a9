"""What a request carries, and how it is read.

Shapes of bodies and answers are named and not imported: what they are made with takes 14 MB and a tenth of a second,
and most admin processes are never given a body that has one, nor asked to describe themselves. A shape is loaded when
it is first needed.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from starlette.requests import Request

from proxy.admin.refusal import AdminRefusal, Code

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

M_co = TypeVar("M_co", bound="BaseModel", covariant=True)

KIB = 1024
JSON = "application/json"
LINES = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Body(Generic[M_co]):
    """What a request carries.

    Attributes:
        shape: Name of the shape of a JSON body, which is read whole; None for lines, which the handler reads as they
            come.
        max_bytes: Longer bodies are refused.
        is_exact: The shape only describes; the handler reads the very text by `Asked.blocks`.
        exact_type: What a body without a shape is, where it is no lines.
    """

    shape: str | None
    max_bytes: int = 256 * KIB
    is_exact: bool = False
    exact_type: str = LINES

    @property
    def media_type(self) -> str:
        """The one `Content-Type` that is taken: no form of a web page can send it, which keeps foreign pages out."""
        return self.exact_type if self.shape is None else JSON

    async def read(self, request: Request) -> M_co | None:
        """Read a body that has a shape; None for one that the handler reads.

        Raises:
            AdminRefusal: It is not what the declaration says.
        """
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != self.media_type:
            raise AdminRefusal(
                Code.UNSUPPORTED_MEDIA_TYPE,
                f"The body is {given[:80] or 'of no named type'!r}; send `Content-Type: {self.media_type}`.",
            )
        if self.shape is None or self.is_exact:
            return None
        whole = b"".join([block async for block in self.blocks(request)])
        return _read(self.shape, whole)  # type: ignore[return-value] # of the shape that is named

    async def blocks(self, request: Request) -> AsyncIterator[bytes]:
        """Give the body as it comes in.

        Raises:
            AdminRefusal: It is longer than is taken.
        """
        told = request.headers.get("content-length", "")
        if told.isascii() and told.isdigit() and (len(told) > 18 or int(told) > self.max_bytes):
            raise self._too_large()
        total = 0
        async for block in request.stream():
            total += len(block)
            if total > self.max_bytes:
                raise self._too_large()
            yield block

    def _too_large(self) -> AdminRefusal:
        return AdminRefusal(
            Code.BODY_TOO_LARGE, f"The body is longer than {self.max_bytes} bytes, the most that is taken here."
        )


def load_shape(name: str) -> type["BaseModel"]:
    """Load a shape by its name, such as `trace.TracePage`: a module of `proxy.admin.shapes`, and a class there."""
    module, _, shape = name.partition(".")
    loaded: type[BaseModel] = getattr(import_module(f"proxy.admin.shapes.{module}"), shape)
    return loaded


def _read(name: str, text: bytes) -> "BaseModel":
    from pydantic import RootModel, ValidationError

    shape: type[Any] = load_shape(name)
    try:
        read: BaseModel = shape.model_validate_json(text)
    except ValidationError as exc:
        raise _not_the_shape(exc, is_one_of_several=issubclass(shape, RootModel)) from exc
    return read


def _not_the_shape(error: "ValidationError", *, is_one_of_several: bool) -> AdminRefusal:
    """Tell the first fault by its place; the value stays out, as it may be content."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # Of several shapes, the first part tells which one was held against the body.
    parts = [str(part) for part in first["loc"][is_one_of_several:]]
    # What stands in brackets is a type that was tried, no member.
    place = ".".join(part for part in parts if "[" not in part)
    at = f"member {place!r}: " if place else ""
    return AdminRefusal(Code.INVALID_BODY, f"The body cannot be taken: {at}{first['msg']}.", param=place or None)
