"""Which upstream a call goes to: decided by its raw path, and by its body's model only where a route asks for that.

The ways in, first one first: the name (`/u/NAME/…`), the longest path prefix, the model of a call under `/v1`, and what
stands for `/v1` as a whole. Clients choose among the routes of the configuration; no host, address or URL of theirs is
ever called.
"""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from proxy.calls.credentials import own_key_field
from proxy.calls.route import MOUNT, Capture, Destination, Route, RouteTimeouts, is_under, parse_upstream
from proxy.calls.route_config import RouteConfig
from proxy.errors import RouteError, SettingsError

__all__ = ["MOUNT", "ByModel", "Destination", "Route", "RouteTable", "make_route_table", "parse_upstream"]

_NAMED = b"/u/"
_MAX_QUOTED = 200
_USUAL_TARGETS, _USUAL_BYTES = 256, 256
"""Clients ask for the same few targets all the time: what so many and so long ones lead to is remembered."""


class ByModel(NamedTuple):
    """A call whose body has to be read: its model decides the route, or may have to be replaced.

    Attributes:
        table: What decides, once the model is known.
        route: The route where the path has decided it, None where the model does.
        rest: The path below the route's base.
        query: The query with its `?`, or nothing.
    """

    table: "RouteTable"
    route: Route | None
    rest: bytes
    query: bytes

    def match_model(self, model: str | None) -> Destination:
        """Return where the call goes.

        Args:
            model: The model that the client named, None when its body names none.

        Raises:
            RouteError: No route serves that model.
        """
        route = self.route or self.table.route_of_model(model)
        return route.destination(self.rest, self.query)


@dataclass(frozen=True, slots=True)
class WayIn:
    """A route and what leads to it besides its name.

    Attributes:
        path: Prefix, empty when there is none.
        has_strip: Whether the prefix is taken off.
        models: Matches the models that go there; None when none do.
    """

    route: Route
    path: bytes = b""
    has_strip: bool = False
    models: re.Pattern[str] | None = None


class RouteTable:
    """Decides the upstream of a call."""

    def __init__(self, default: Route | None, ways: Sequence[WayIn] = ()) -> None:
        """Take the routes.

        Args:
            default: Takes what is under `/v1` and no other route's; None when nothing does.
            ways: The named routes, in the order of the configuration.
        """
        fallback = [WayIn(default, MOUNT)] if default is not None else []
        self.routes: tuple[Route, ...] = tuple(way.route for way in (*fallback, *ways))
        self._by_name = {way.route.name.encode(): way.route for way in ways}
        self._by_model = [way for way in ways if way.models is not None]
        self._by_path = sorted(
            (way for way in ways if way.path not in (b"", MOUNT)), key=lambda way: len(way.path), reverse=True
        )
        self._mount = next((way for way in (*fallback, *ways) if way.path == MOUNT), None)
        self._match_usual = lru_cache(_USUAL_TARGETS)(self._match)

    def match(self, target: bytes) -> Destination | ByModel:
        """Return where the call goes, or that its model must be known first.

        Args:
            target: The request target as the client sent it: path and query, nothing decoded, a lone `?` kept. Octets
                from 0x80 up are taken as they are; control characters and spaces are refused.

        Raises:
            RouteError: No route serves the path, or the path tries to climb out of it.
        """
        return self._match_usual(target) if len(target) <= _USUAL_BYTES else self._match(target)

    def _match(self, target: bytes) -> Destination | ByModel:
        path, mark, query = target.partition(b"?")
        query = mark + query
        if path.startswith(_NAMED):
            name, slash, below = path[len(_NAMED) :].partition(b"/")
            if name in self._by_name:
                return self._found(WayIn(self._by_name[name]), slash + below, query)
        for way in self._by_path:
            if is_under(path, way.path):
                return self._found(way, path, query)
        if not is_under(path, MOUNT) or (self._mount is None and not self._by_model):
            raise self._unknown(path)
        if not self._by_model:
            assert self._mount is not None  # noqa: S101 - said two lines above
            return self._found(self._mount, path, query)
        # Whichever route it is: a path that climbs is refused before the body is waited for.
        self.routes[0].destination(path, query)
        return ByModel(self, None, path, query)

    def route_of_model(self, model: str | None) -> Route:
        """Return the route for a model under `/v1`.

        Raises:
            RouteError: Neither a glob nor a default takes it.
        """
        if model is not None:
            for way in self._by_model:
                assert way.models is not None  # noqa: S101 - such ways are not in the list
                if way.models.match(model):
                    return way.route
        if self._mount is None:
            named = "no model" if model is None else f"the model {model[:_MAX_QUOTED]!r}"
            raise RouteError(
                404, "unknown_route", f"The call names {named}, which no route serves. Ask for a model that one does."
            )
        return self._mount.route

    def _found(self, way: WayIn, path: bytes, query: bytes) -> Destination | ByModel:
        rest = path[len(way.path) :] if way.has_strip else path
        destination = way.route.destination(rest, query)
        return ByModel(self, way.route, rest, query) if way.route.model_alias else destination

    def _unknown(self, path: bytes) -> RouteError:
        places = ["/v1"] if self._mount is not None or self._by_model else []
        places += [way.path.decode() for way in self._by_path] + [f"/u/{name.decode()}" for name in self._by_name]
        return RouteError(
            404,
            "unknown_route",
            f"No route serves {path[:_MAX_QUOTED].decode('latin-1')!r}. Point base_url at this server's "
            f"{' or '.join(places)}.",
        )


def make_route_table(
    upstream: str | None,
    configs: Sequence[RouteConfig] = (),
    *,
    timeouts: RouteTimeouts | None = None,
    environ: Mapping[str, str],
    is_captured: bool = True,
) -> RouteTable:
    """Make the table of the settings.

    Args:
        upstream: Base URL for `/v1`, None when only routes serve it.
        configs: The routes, in the order of the configuration.
        timeouts: Those of the settings, which a route can replace one by one.
        environ: Where the upstreams' keys are.
        is_captured: False lets no route record anything, whatever the configuration says of it.

    Raises:
        SettingsError: A URL is none, two routes claim the same, or a key is missing.
    """
    waits = timeouts or RouteTimeouts()
    default = replace(parse_upstream(upstream), timeouts=waits) if upstream is not None else None
    _refuse_doubles(upstream, configs)
    ways = [_way_in(config, waits, environ) for config in configs]
    if not is_captured:
        default = replace(default, capture=Capture.OFF) if default is not None else None
        ways = [replace(way, route=replace(way.route, capture=Capture.OFF)) for way in ways]
    return RouteTable(default, ways)


def _way_in(config: RouteConfig, timeouts: RouteTimeouts, environ: Mapping[str, str]) -> WayIn:
    route = replace(
        parse_upstream(config.upstream, name=config.name),
        credential=_credential(config, environ),
        headers=tuple((name.encode(), value.encode()) for name, value in config.headers.items()),
        model_alias=dict(config.model_alias),
        timeouts=RouteTimeouts(
            connect_s=config.connect_timeout_s or timeouts.connect_s,
            first_byte_s=config.first_byte_timeout_s or timeouts.first_byte_s,
            read_s=config.read_timeout_s or timeouts.read_s,
            total_s=config.total_timeout_s or timeouts.total_s,
        ),
        capture=config.capture,
        sample=config.sample,
        on_disconnect=config.on_disconnect,
        max_body_bytes=config.max_body_bytes,
    )
    globs = "|".join(fnmatch.translate(glob) for glob in config.models)
    return WayIn(route, (config.path or "").encode(), config.strip, re.compile(globs) if globs else None)


def _credential(config: RouteConfig, environ: Mapping[str, str]) -> tuple[bytes, bytes] | None:
    if config.api_key_env is None:
        return None
    key = environ.get(config.api_key_env, "").strip()
    if not key:
        raise SettingsError(
            f"route {config.name!r}: the environment variable {config.api_key_env} is not set; it is to hold the "
            "upstream's key (api_key_env)."
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise SettingsError(
            f"route {config.name!r}: the environment variable {config.api_key_env} holds spaces or characters that no "
            "key has."
        )
    return own_key_field(config.auth, key)


def _refuse_doubles(upstream: str | None, configs: Sequence[RouteConfig]) -> None:
    names: set[str] = {"default"}
    paths: set[str] = set() if upstream is None else {MOUNT.decode()}
    for config in configs:
        if config.name in names:
            raise SettingsError(f"routes: the name {config.name!r} is taken; give each route one of its own.")
        if config.path in paths:
            raise SettingsError(
                f"route {config.name!r}: path {config.path} is taken by another route or by `upstream`; leave one out."
            )
        names.add(config.name)
        if config.path is not None:
            paths.add(config.path)
