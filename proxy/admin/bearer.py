"""Who asks the admin side: the tokens that it knows, and a bound on how often a peer may guess.

Time tells nothing about a token: every request is held against all of them, each in the same time whatever is right
about it. A peer that gives wrong ones is refused for the rest of a minute, its right ones included, for else it could
go on guessing. Peers are told apart by address, those of IPv6 by their network of 64 bits, which one machine owns.
"""

import hmac
import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from time import monotonic


class Scope(StrEnum):
    """What a token must allow."""

    OPEN = "open"
    """Nothing: the operation asks for no token."""
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who asks.

    Attributes:
        name: `admin` or `read` by the token that was given; `local` where none is asked for.
        may_write: Whether what is recorded may be changed.
    """

    name: str
    may_write: bool

    def may(self, scope: Scope) -> bool:
        """Tell whether an operation of that scope is allowed."""
        return self.may_write or scope is not Scope.WRITE


LOCAL = Bearer("local", may_write=True)
"""Who asks an admin side without tokens; such a one listens on loopback alone."""
NOBODY = Bearer("nobody", may_write=False)
"""Who asks for what needs no token."""


class Tokens:
    """The tokens of one admin side.

    Args:
        admin: The token that may do everything; None when there is none.
        read: The token that may only read.
    """

    def __init__(self, *, admin: str | None = None, read: str | None = None) -> None:
        known = ((Bearer("admin", may_write=True), admin), (Bearer("read", may_write=False), read))
        self._known = tuple((bearer, token.encode()) for bearer, token in known if token is not None)

    @property
    def is_asked_for(self) -> bool:
        """Whether a request has to carry one."""
        return bool(self._known)

    def bearer(self, credentials: bytes) -> Bearer | None:
        """Tell whose token that is; None for nobody's."""
        found = None
        for bearer, token in self._known:
            if hmac.compare_digest(credentials, token):
                found = bearer
        return found


def given_credentials(authorization: Iterable[bytes]) -> bytes | None:
    """Give what stands after `Bearer` in the one `Authorization` field; None where there is no such field."""
    values = list(authorization)
    if len(values) != 1:
        return None
    scheme, _, credentials = values[0].partition(b" ")
    return credentials.strip() if scheme.lower() == b"bearer" else None


@dataclass(slots=True)
class _Failures:
    since: float
    count: int


class FailedTokens:
    """Counts wrong tokens for each peer, in a table with a bound.

    Args:
        most: Wrong tokens within a window after which a peer is refused for its rest.
        window_s: Length of the window, which a peer's first wrong token begins.
        max_peers: Peers that are remembered; the one that began longest ago is forgotten for a new one.
        clock: Seconds that never go back.
    """

    def __init__(
        self, *, most: int = 10, window_s: float = 60.0, max_peers: int = 1024, clock: Callable[[], float] = monotonic
    ) -> None:
        self._most = most
        self._window_s = window_s
        self._max_peers = max_peers
        self._clock = clock
        self._peers: OrderedDict[str, _Failures] = OrderedDict()

    def wait_s(self, peer: str) -> int | None:
        """Tell for how many whole seconds the peer is refused still; None when it is not."""
        held = self._peers.get(network_of(peer))
        if held is None or held.count < self._most:
            return None
        left = held.since + self._window_s - self._clock()
        return ceil(left) if left > 0 else None

    def add(self, peer: str) -> bool:
        """Count a wrong token; tell whether it was the last one allowed."""
        network, now = network_of(peer), self._clock()
        held = self._peers.get(network)
        if held is None or now >= held.since + self._window_s:
            self._peers.pop(network, None)
            held = self._peers[network] = _Failures(now, 0)
            if len(self._peers) > self._max_peers:
                self._peers.popitem(last=False)
        held.count += 1
        return held.count == self._most


def network_of(peer: str) -> str:
    """Give what all addresses of one machine have in common; a text that is no address stands for itself."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))
