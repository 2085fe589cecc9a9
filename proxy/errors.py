"""Errors of the serving room.

ProxyError
├── SettingsError       a setting is wrong: said at start, exit code 1
├── StartError          the server cannot start: port taken, folder unusable
├── KeyFileError        the file of the proxy keys cannot be read or written, or a name in it is at fault
├── ImportStalledError  ingest takes in nothing more of an import
├── HeadError           a message's head breaks the rules of HTTP, or has no end
├── FramingError        a message's body breaks the rules of HTTP, or ends too early
├── ClientLeft          the client went away before its call was over
├── ClientSilentError   the client sent no more of its body
├── BodyTooLargeError   the client's body is past the bound
├── RouteError          a call that no route serves: answered with its status
└── UpstreamError       the upstream gave no whole answer
"""

from pathlib import Path

from store.trace import Outcome


class ProxyError(Exception):
    """Base of every error of this room."""


class SettingsError(ProxyError):
    """A setting is missing, unknown or has a value that cannot be."""


class StartError(ProxyError):
    """The server cannot start; the message says what is in the way and how to clear it."""


class KeyFileError(ProxyError):
    """The file of the proxy keys is damaged or cannot be reached, or a name is taken, unknown or none."""


class ImportStalledError(ProxyError):
    """Ingest takes in nothing more of what an import wrote; it lies in the journal and will be stored.

    Attributes:
        journal: The journal's folder.
        seconds: For how long nothing was taken in.
    """

    def __init__(self, journal: Path, seconds: float) -> None:
        super().__init__(
            f"{journal}: for {seconds:.0f} s nothing of what waits there was stored. `tracemill doctor` tells what is "
            "in the way; give the same command again after that: nothing is stored twice."
        )
        self.journal = journal
        self.seconds = seconds


class HeadError(ProxyError):
    """A message's head is none, or breaks a bound.

    Attributes:
        status: What to answer when it was a request.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FramingError(ProxyError):
    """A message's body cannot be told from what follows it, or ended before its end."""


class ClientLeft(ProxyError):  # noqa: N818 - an event of every day, not an error
    """The client closed its connection before the call was over."""


class ClientSilentError(ProxyError):
    """The client began a body and sends no more of it."""


class BodyTooLargeError(ProxyError):
    """A request's body is larger than the setting allows."""

    def __init__(self, max_body_bytes: int) -> None:
        super().__init__(f"a request's body may have {max_body_bytes} bytes (max_body_bytes)")


class RouteError(ProxyError):
    """No upstream was called; the client is answered by us.

    Attributes:
        status: Status code of our answer.
        code: Stable code of our answer.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class UpstreamError(ProxyError):
    """The upstream could not be reached, went silent or broke off.

    Attributes:
        outcome: How the call ends by it.
    """

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
