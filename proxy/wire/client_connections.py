"""What the connections of a listener have in common: their limits, who serves their calls, and which are open."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.wire.client_call import ClientCall

if TYPE_CHECKING:
    from proxy.wire.client_connection import ClientConnection


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What one client may take.

    Attributes:
        max_connections: Connections open at once.
        max_head_bytes: A request's line and fields.
        max_body_bytes: A request's body.
        head_timeout_s: From a head's first byte to its last.
        keep_alive_s: A connection without a call.
        silence_s: A client that sends no more of its body, or takes no more of its answer.
    """

    max_connections: int
    max_head_bytes: int
    max_body_bytes: int
    head_timeout_s: float
    keep_alive_s: float
    silence_s: float


@dataclass(slots=True)
class ClientConnections:
    """All connections of a listener, and what they have in common.

    Attributes:
        serve: Serves one call.
        on_refusal: Told the status of each request that was answered here.
        is_stopping: From then on every connection closes when its call is done.
        all: The open connections.
        tasks: Those that serve a call now; some go on when their client is gone.
        is_empty: Set when the last of both is gone.
    """

    serve: Callable[[ClientCall], Coroutine[None, None, None]]
    limits: ClientLimits
    on_refusal: Callable[[int], None]
    is_stopping: bool = False
    all: set["ClientConnection"] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    is_empty: asyncio.Event = field(default_factory=asyncio.Event)

    def discard(self, connection: "ClientConnection | None", task: asyncio.Task[None] | None) -> None:
        """Forget what is gone."""
        if connection is not None:
            self.all.discard(connection)
        if task is not None:
            self.tasks.discard(task)
        if not self.all and not self.tasks:
            self.is_empty.set()
