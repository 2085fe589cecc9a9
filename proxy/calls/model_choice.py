"""A call that is routed by its body's model: what is read for that, where the call goes, what is replaced.

Such a body is held in memory as a whole before anything is sent: a parser upstream may take the last of two equal
keys, and a replaced name changes the length that stands in the head. So it has a bound of its own, and a call past it
is refused: sent to the default route it would go where the configuration says its model does not. A body that is no
JSON by its own account, such as the upload of a file, names no model and is not held.
"""

from typing import NamedTuple

from proxy.calls.headers import RawHeaders
from proxy.calls.model_splice import Model, ModelFault, ModelScanner, splice
from proxy.calls.routes import ByModel, Destination
from proxy.errors import RouteError
from proxy.wire.fields import first

_NO_JSON = (b"multipart/", b"audio/", b"image/", b"video/", b"application/octet-stream")
_DIGESTS = frozenset({b"content-digest", b"repr-digest", b"digest", b"content-md5"})
_FAULTS = {
    ModelFault.REPEATED: "names its model more than once and differently",
    ModelFault.TOO_FINE: "is nested too finely to be read on its way",
}
_NO_MODEL = Model(None, (), None)


class Chosen(NamedTuple):
    """Where a call goes, and what of its body is replaced.

    Attributes:
        model: What the body says its model is.
        alias: The upstream's name of that model; None when nothing is replaced.
    """

    destination: Destination
    model: Model
    alias: str | None

    def rewrite(self, fields: RawHeaders, body: bytes) -> tuple[RawHeaders, bytes]:
        """Return fields and body as the upstream is to have them; the same ones where nothing is replaced.

        Args:
            fields: The request's; the length is corrected, a digest of the body as it was is left out.
            body: The whole body as the client sent it.
        """
        if self.alias is None:
            return fields, body
        body = splice(body, self.model.spans, self.alias)
        length = b"%d" % len(body)
        kept = [(name, value) for name, value in fields if name.lower() not in _DIGESTS]
        return [(name, length if name.lower() == b"content-length" else value) for name, value in kept], body


class ModelChoice:
    """Reads a call's body for its model; does no I/O and keeps none of it."""

    def __init__(self, by_model: ByModel, fields: RawHeaders, *, max_body_bytes: int) -> None:
        """Look at the head.

        Args:
            by_model: What the path says.
            fields: The request's header fields.
            max_body_bytes: Most of a body that is read for its model.

        Raises:
            RouteError: The body is encoded or too large, so its model cannot be read.
        """
        self._by_model = by_model
        self._max_body_bytes = max_body_bytes
        self._scanner = ModelScanner()
        self._size = 0
        kind = (first(fields, b"content-type") or b"").strip().lower()
        self.wants_body = _has_body(fields) and not kind.startswith(_NO_JSON)
        if not self.wants_body:
            return
        coding = (first(fields, b"content-encoding") or b"identity").strip().lower()
        if coding != b"identity":
            raise _unreadable("is compressed")
        length = first(fields, b"content-length") or b"0"
        if length.isdigit() and int(length) > max_body_bytes:
            raise self._too_large()

    def feed(self, block: bytes) -> None:
        """Read the next block of the body.

        Raises:
            RouteError: The body is too large to be held.
        """
        self._size += len(block)
        if self._size > self._max_body_bytes:
            raise self._too_large()
        self._scanner.feed(block)

    def settle(self) -> Chosen:
        """Return where the call goes, now that its body is whole, or that none is wanted.

        Raises:
            RouteError: The model cannot be told, or no route serves it.
        """
        model = self._scanner.finish() if self.wants_body else _NO_MODEL
        if model.fault is not None:
            raise _unreadable(_FAULTS[model.fault])
        destination = self._by_model.match_model(model.name)
        alias = None if model.name is None else destination.route.model_alias.get(model.name)
        return Chosen(destination, model, alias)

    def _too_large(self) -> RouteError:
        return RouteError(
            413,
            "body_too_large",
            f"The route depends on the body's `model`, and the body has more than {self._max_body_bytes} bytes. Choose "
            "the route by its name: /u/NAME.",
        )


def _has_body(fields: RawHeaders) -> bool:
    return first(fields, b"transfer-encoding") is not None or (first(fields, b"content-length") or b"0") != b"0"


def _unreadable(why: str) -> RouteError:
    return RouteError(
        400,
        "model_unreadable",
        f"The route depends on the body's `model`, and the body {why}. Send plain JSON that names its model once, or "
        "choose the route by its name: /u/NAME.",
    )
