"""Proxy keys: who may call, where clients are not to hold the upstream's key.

A worker knows the keys by heart and looks at their file once a second in a thread, so no call waits for the disk and a
revoked key is refused within two seconds. A proxy key never leaves this machine: a call that holds one is served by a
route with a key of its own, or refused; so is anything that looks like a proxy key and is none (any more).
"""

import asyncio
import hmac
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from proxy.calls.credentials import SUBPROTOCOLS
from proxy.calls.field_names import CREDENTIAL_FIELDS
from proxy.calls.headers import RawHeaders
from proxy.calls.key_file import KEY_FILE, KEY_PREFIX, KeyList, key_digest, read_keys
from proxy.calls.route import Route
from proxy.errors import KeyFileError, RouteError
from proxy.wire.fields import names_of

_log = logging.getLogger("tracemill.keys")

_LOOK_S = 1.0
_SHAPE = re.compile(rb"(?<![A-Za-z0-9_-])tm-[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
_FIELDS = (*sorted(CREDENTIAL_FIELDS), SUBPROTOCOLS)
"""Wherever clients put keys, under whatever scheme: a proxy key that was overlooked would go on to the upstream."""
_PREFIX = KEY_PREFIX.encode()
_INDEX_DIGITS = 8


@dataclass(frozen=True, slots=True)
class ProxyKey:
    """A key that let a call in.

    Attributes:
        name: Recorded with the call.
        routes: Names of the routes it opens; none means all.
    """

    name: str
    routes: tuple[str, ...] = ()
    _digest: str = field(default="", repr=False)

    def check_route(self, route: Route) -> None:
        """Make sure that a call with this key may go there.

        Raises:
            RouteError: The key does not open the route, or the route has no key of its own to take this one's place.
        """
        if self.routes and route.name not in self.routes:
            raise RouteError(
                403,
                "route_not_allowed",
                f"The proxy key {self.name!r} does not open the route {route.name!r}; it opens "
                f"{', '.join(self.routes)}.",
            )
        if route.credential is None:
            raise RouteError(
                403,
                "route_without_key",
                f"The route {route.name!r} has no key of its own, and a proxy key is not passed on. Give the route "
                "api_key_env, or call it with the upstream's key.",
            )


class KeyRing:
    """The keys of one data directory, as a worker knows them."""

    def __init__(self, data_dir: Path, *, is_required: bool) -> None:
        """Read the keys.

        Args:
            data_dir: The data directory.
            is_required: Whether a call without a key is refused.

        Raises:
            KeyFileError: The file of the keys cannot be read.
        """
        self._data_dir = data_dir
        self._is_required = is_required
        self._stamp: tuple[int, ...] | None = None
        self._known: tuple[str, dict[str, list[ProxyKey]]] = ("", {})
        self._has_failed = False
        self._stamp = self._look()
        self._take(read_keys(data_dir))

    def check(self, fields: RawHeaders) -> ProxyKey | None:
        """Tell which key a call holds, without any I/O.

        Args:
            fields: The request's header fields; all that hold credentials are looked at.

        Returns:
            The key; None when the call holds none and needs none.

        Raises:
            RouteError: The call needs a key and holds none, or holds one that is not known (any more).
        """
        is_ours = False
        places = names_of(fields).places
        held = [fields[place][1] for name in _FIELDS if name in places for place in places[name]]
        for value in held:
            for shaped in _SHAPE.findall(value) if _PREFIX in value else ():
                key = self._find(shaped)
                if key is not None:
                    return key
                is_ours = True
        if is_ours:
            _refuse("The proxy key is not known; it may have been revoked.")
        if self._is_required:
            _refuse("This proxy asks for a key of its own; send one made by `tracemill keys add` as the API key.")
        return None

    def refresh(self) -> None:
        """Read the file again if it has changed; blocks on the disk. A file that cannot be read changes nothing."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._take(read_keys(self._data_dir))
            self._stamp = stamp
        except (KeyFileError, OSError) as error:
            if not self._has_failed:
                _log.error("the proxy keys stay as they were: %s", error)
            self._has_failed = True
        else:
            self._has_failed = False

    async def keep_fresh(self) -> NoReturn:
        """Look at the file once a second, for ever; run it as a task of the worker."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await asyncio.to_thread(self.refresh)

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = (self._data_dir / KEY_FILE).stat()
        except FileNotFoundError:
            return None
        # A file is replaced, never written into, so a new one has another number even within one tick of the clock.
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _take(self, keys: KeyList) -> None:
        by_index: dict[str, list[ProxyKey]] = {}
        for entry in keys.keys:
            key = ProxyKey(entry.name, entry.routes, entry.digest)
            by_index.setdefault(entry.digest[:_INDEX_DIGITS], []).append(key)
        # In one step: a call that is checked meanwhile sees the old keys with the old salt, or the new ones.
        self._known = keys.salt, by_index

    def _find(self, credential: bytes) -> ProxyKey | None:
        # The lookup's time can tell the first digits of a digest, from which nothing follows for the key.
        salt, by_index = self._known
        if not by_index:
            return None
        digest = key_digest(salt, credential)
        for key in by_index.get(digest[:_INDEX_DIGITS], ()):
            if hmac.compare_digest(key._digest, digest):  # noqa: SLF001 - this module's own
                return key
        return None


def _refuse(message: str) -> NoReturn:
    raise RouteError(401, "invalid_api_key", message)
