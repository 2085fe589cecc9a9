"""A call that is routed by its body's model, from its head to the request that goes upstream.

Such a body is held in memory as a whole before anything is sent: a parser upstream may take the last of two equal
keys, and a replaced name changes the length that stands in the head. So it has a bound of its own, and a call past it
is refused: sent to the default route it would go where the configuration says its model does not.
"""

from typing import NamedTuple

from proxy.calls.headers import RawHeaders, first
from proxy.calls.model_splice import ModelFault, ModelScanner, splice
from proxy.calls.routes import ByModel, Destination
from proxy.errors import RouteError

MAX_MODEL_BODY_BYTES = 64 * 1024 * 1024
"""Most of a body that is held to find its model."""

_NO_JSON = (b"multipart/", b"audio/", b"image/", b"video/", b"application/octet-stream")
_DIGESTS = frozenset({b"content-digest", b"repr-digest", b"digest", b"content-md5"})
_FAULTS = {
    ModelFault.REPEATED: "names its model more than once and differently",
    ModelFault.TOO_FINE: "is nested too finely to be read on its way",
}


class Chosen(NamedTuple):
    """Where a call goes, and its request with the model's name replaced where the route says so.

    Attributes:
        fields: The client's header fields, the length corrected.
        body: The whole body; None when it was not read (`ModelChoice.wants_body`).
        alias: The client's name of a model that was replaced; None when none was.
    """

    destination: Destination
    fields: RawHeaders
    body: bytes | None
    alias: str | None


class ModelChoice:
    """Reads a call's body for its model; does no I/O."""

    def __init__(self, by_model: ByModel, fields: RawHeaders) -> None:
        """Look at the head.

        A body of a kind that is no JSON (an upload of a file) is not read and has no model.

        Raises:
            RouteError: The body is encoded or too large, so its model cannot be read.
        """
        self._by_model = by_model
        self._fields = fields
        self._scanner = ModelScanner()
        self._blocks: list[bytes] = []
        self._size = 0
        kind = (first(fields, b"content-type") or b"").strip().lower()
        self.wants_body = _has_body(fields) and not kind.startswith(_NO_JSON)
        if not self.wants_body:
            return
        coding = (first(fields, b"content-encoding") or b"identity").strip().lower()
        if coding not in (b"", b"identity"):
            raise _unreadable("is compressed")
        length = first(fields, b"content-length") or b"0"
        if length.isdigit() and int(length) > MAX_MODEL_BODY_BYTES:
            raise _too_large()

    def feed(self, block: bytes) -> None:
        """Read the next block of the body.

        Raises:
            RouteError: The body is too large to be held.
        """
        self._size += len(block)
        if self._size > MAX_MODEL_BODY_BYTES:
            raise _too_large()
        self._blocks.append(block)
        self._scanner.feed(block)

    def settle(self) -> Chosen:
        """Return where the call goes, now that its body is whole.

        Raises:
            RouteError: The model cannot be told, or no route serves it.
        """
        if not self.wants_body:
            return Chosen(self._by_model.match_model(None), self._fields, None, None)
        body = b"".join(self._blocks)
        self._blocks.clear()
        model = self._scanner.finish()
        if model.fault is not None:
            raise _unreadable(_FAULTS[model.fault])
        destination = self._by_model.match_model(model.name)
        name = None if model.name is None else destination.route.model_alias.get(model.name)
        if name is None:
            return Chosen(destination, self._fields, body, None)
        body = splice(body, model.spans, name)
        return Chosen(destination, _resized(self._fields, len(body)), body, model.name)


def _resized(fields: RawHeaders, size: int) -> RawHeaders:
    """Return the fields for a body of another size; a digest of the old one is left out."""
    return [
        (name, str(size).encode() if name.lower() == b"content-length" else value)
        for name, value in fields
        if name.lower() not in _DIGESTS
    ]


def _has_body(fields: RawHeaders) -> bool:
    return first(fields, b"transfer-encoding") is not None or (first(fields, b"content-length") or b"0") != b"0"


def _unreadable(why: str) -> RouteError:
    return RouteError(
        400,
        "model_unreadable",
        f"The route depends on the body's `model`, and the body {why}. Send plain JSON that names its model once, or "
        "choose the route by its name: /u/NAME.",
    )


def _too_large() -> RouteError:
    return RouteError(
        413,
        "body_too_large",
        f"The route depends on the body's `model`, and the body has more than {MAX_MODEL_BODY_BYTES} bytes. Choose the "
        "route by its name: /u/NAME.",
    )
