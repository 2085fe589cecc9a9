"""httpx's request and response over fields that stay as they are.

The constructors of httpx take every field apart and `Headers.raw` puts it together again, on either side of the seam:
a tenth of all that a call costs a worker. Here the fields are handed through, and httpx's view of them is made for
whoever asks.
"""

from functools import cached_property
from typing import Any

import httpx2 as httpx

from proxy.wire.fields import Fields

_UNREAD = {
    name: value for name, value in vars(httpx.Response(200, stream=httpx.ByteStream(b""))).items() if name != "headers"
}
"""What httpx sets on a response whose body is still to come."""


class RawRequest(httpx.Request):
    """A request as a transport reads it.

    Attributes:
        fields: All that are sent, in their order and case.
    """

    def __init__(
        self, method: bytes, url: httpx.URL, fields: Fields, stream: httpx.AsyncByteStream, extensions: dict[str, Any]
    ) -> None:
        """Take what is sent as it stands; httpx's own constructor, passed over, would put the method into capitals."""
        self.method = method.decode()
        self.url = url
        self.fields = fields
        self.stream = stream
        self.extensions = extensions

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]  # it can be set, as httpx's can
        """The fields as httpx sees them."""
        return httpx.Headers(self.fields)


class RawResponse(httpx.Response):
    """A response as a transport makes it.

    Attributes:
        fields: As they came.
    """

    def __init__(self, status: int, fields: Fields, stream: httpx.AsyncByteStream, extensions: dict[str, Any]) -> None:
        """Take what came as it stands, and the rest as httpx's constructor leaves it."""
        self.__dict__.update(_UNREAD)
        self.status_code = status
        self.fields = fields
        self.stream = stream
        self.extensions = extensions
        self.history = []

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]  # it can be set, as httpx's can
        """The fields as httpx sees them."""
        return httpx.Headers(self.fields)


def fields_of(message: httpx.Request | httpx.Response) -> Fields:
    """Return a message's fields in their order and case, whoever made it."""
    return message.fields if isinstance(message, (RawRequest, RawResponse)) else message.headers.raw
