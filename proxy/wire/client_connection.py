"""The client's connection: uvicorn's, with what a proxy needs besides.

- The exact request target. What ASGI hands over has lost a lone `?`, a fragment and the origin of an absolute form, so
  the target decided on could be another one than the client's.
- A bound on the head. The parser has none: 64 MB of header fields cost a gigabyte.
- Departures that no pipeline hides. uvicorn tells only the request that came last that its client is gone.
- Requests that offer another protocol are served in this one, which they must expect (RFC 9110, 7.8). Java's client
  offers HTTP/2 with every first request, and the parser takes the body of such a request for the other protocol.
"""

import sys

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

TARGET = "tracemill.target"
"""Key of the ASGI scope: the request target as it stood on the request line."""

_MAX_HEAD_BYTES = 256 * 1024


class ClientConnection(HttpToolsProtocol):
    """One connection of a client."""

    _active: RequestResponseCycle | None = None
    _data = b""
    _is_in_head = False
    _heads_begun = 0
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take what came off the socket; refuse a head that has no end."""
        begun = self._heads_begun
        self._data = data
        super().data_received(data)
        # What came together with a head's beginning is not counted: it may be the end of a body.
        self._head_bytes = self._head_bytes + len(data) if self._is_in_head and begun == self._heads_begun else 0
        if self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request may have {_MAX_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        self._is_in_head = True
        self._heads_begun += 1

    def on_headers_complete(self) -> None:
        """Add the target to the scope before the application gets it."""
        self._is_in_head = False
        if self.parser.should_upgrade():
            return  # `_unsupported_upgrade_warning` comes next
        self.scope[TARGET] = self.url  # type: ignore[literal-required]
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note the end of a body; that of a request with an offer has not begun here."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Read the request again as one without the offer, and what follows its head as its body."""
        upgrade = sys.exception()
        assert isinstance(upgrade, httptools.HttpParserUpgrade)  # noqa: S101 - uvicorn calls this only for one
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("CONNECT is not served here.")
            return
        version = self.parser.get_http_version().encode()
        fields = [name + b": " + value + b"\r\n" for name, value in self.headers if name != b"upgrade"]
        head = b"%s %s HTTP/%s\r\n%s\r\n" % (method, self.url, version, b"".join(fields))
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + self._data[upgrade.args[0] :])

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered, too."""
        super().connection_lost(exc)
        if self._active is not None and not self._active.response_complete:
            self._active.disconnected = True
            self._active.message_event.set()
