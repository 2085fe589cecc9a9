"""How long a call waits for an upstream."""

from typing import NamedTuple


class CallTimeouts(NamedTuple):
    """How long to wait for an upstream, in seconds; None: for ever.

    Attributes:
        connect: For a connection, its TLS and its tunnel.
        first_byte: From the request having been sent to the answer's head.
        read: Between two blocks of the answer.
        write: For the upstream to take any more of the request.
    """

    connect: float | None
    first_byte: float | None
    read: float | None
    write: float | None
