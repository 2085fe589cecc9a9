"""Header hygiene: what passes to the other side, what stays here, what may be recorded.

Header fields are kept as the raw list they came as: order and duplicates (two `set-cookie`) are part of the message.
"""

import hmac
from collections.abc import Sequence
from typing import NamedTuple

from proxy.calls.field_names import HOP_BY_HOP, OUR_PREFIX
from proxy.journal.raw_call import HeaderList
from proxy.wire.fields import HeadFields, Names, names_of, of_names

RawHeaders = Sequence[tuple[bytes, bytes]]

_SAID_ANEW = frozenset({b"host", b"transfer-encoding", b"te", b"upgrade"})
"""Request fields that do not go on as they are: another value takes their place, or none does."""

_ONLY_OF_CONNECTION = frozenset({b"keep-alive", b"close", b"upgrade", b"te"})
"""What `Connection` names nearly always, and is no field or in the fixed list."""

TRACE_ID_HEADER = b"x-tracemill-trace-id"

_RECORDED_REQUEST = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"op-tags",
        b"traceparent",
        b"x-request-id",
        b"helicone-session-id",
        b"helicone-user-id",
        b"x-portkey-trace-id",
        b"x-portkey-metadata",
        b"x-litellm-session-id",
        b"x-litellm-tags",
    }
)
_RECORDED_REQUEST_PREFIXES = (b"x-tracemill-", b"helicone-property-")
_SAID_BY_US = frozenset({b"x-tracemill-capture", b"x-tracemill-proxy-key"})
_RECORDED_RESPONSE = frozenset(
    {b"content-type", b"content-encoding", b"request-id", b"x-request-id", b"openai-processing-ms"}
)

_CREDENTIALS = (b"authorization", b"api-key", b"x-api-key")
"""Where OpenAI, Azure and Anthropic clients put their key; of several, the first one here counts."""

_MAX_FINGERPRINTS = 4096
_fingerprints: dict[int, str] = {}


def forwarded(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Return the fields that go on to the other side, in their order.

    Hop-by-hop fields stay behind: the fixed list and any field that `Connection` names. So does a length beside
    `Transfer-Encoding`: it does not count, and whoever believed it would be tricked (RFC 9112, 6.3). A length said
    several times is said once.
    """
    names = names_of(headers)
    passage = _passage_of_answer(names)
    if not _is_anything_named(names, headers):
        kept: list[tuple[bytes, bytes]] = HeadFields([headers[place] for place in passage.kept], passage.names)
    else:
        dropped = _dropped(names, headers)
        kept = [field for lower, field in zip(names.lower, headers, strict=True) if lower not in dropped]
    lengths = names.places.get(b"content-length")
    if lengths is not None and (len(lengths) > 1 or b"," in headers[lengths[0]][1]):
        return _with_one_length(kept)
    return kept


def to_upstream(headers: RawHeaders, *, host: bytes, has_upgrade: bool = False) -> list[tuple[bytes, bytes]]:
    """Return the request fields for the upstream: `Host` is the upstream's own, `X-Tracemill-…` stays here.

    The body's framing is the client's: sized, chunked, or none at all. Only the chunks' borders are new.

    Args:
        headers: As the client sent them; only one of length and `Transfer-Encoding` is among them.
        host: The upstream's `Host`.
        has_upgrade: Whether the offer of another protocol goes on, too.
    """
    names = names_of(headers)
    passage = _passage_of_request(names)
    if passage is not None and not _is_anything_named(names, headers):
        sent = HeadFields([headers[place] for place in passage.kept], passage.names)
        sent[passage.host] = sent[passage.host][0], host
        return sent
    dropped, ours = _dropped(names, headers), _ours(names)
    kept: list[tuple[bytes, bytes]] = [] if b"host" in names.places else [(b"Host", host)]
    for lower, field in zip(names.lower, headers, strict=True):
        if lower not in _SAID_ANEW:
            if lower not in dropped and lower not in ours:
                kept.append(field)
            continue
        name, value = field
        match lower:
            case b"host":
                kept.append((name, host))
            case b"transfer-encoding":
                kept.append((name, b"chunked"))
            case b"te" if b"trailers" in value.lower():
                # Trailer fields are passed on, so the client's readiness for them is ours (RFC 9110, 10.1.4).
                kept += [(name, b"trailers"), (b"Connection", b"TE")]
            case b"upgrade" if has_upgrade:
                kept += [(name, value), (b"Connection", b"Upgrade")]
    return kept


class _Passage(NamedTuple):
    """What goes on of a head with certain names, as long as its `Connection` names no field.

    Attributes:
        kept: Places of the fields that do.
        names: Their names.
        host: Which of them is `Host`; -1 in an answer.
    """

    kept: tuple[int, ...]
    names: Names
    host: int = -1


@of_names
def _passage_of_answer(names: Names) -> _Passage:
    stays = _always_dropped(names)
    return _passage(names, [place for place, name in enumerate(names.lower) if name not in stays])


@of_names
def _passage_of_request(names: Names) -> _Passage | None:
    """Return the passage; None where something but the host is said anew."""
    if names.places.keys() & _SAID_ANEW != {b"host"}:
        return None
    stays = HOP_BY_HOP | _ours(names)
    passage = _passage(names, [place for place, name in enumerate(names.lower) if name not in stays])
    return passage._replace(host=passage.names.lower.index(b"host"))


def _passage(names: Names, kept: Sequence[int]) -> _Passage:
    return _Passage(tuple(kept), Names(tuple([names.own_case[place] for place in kept])))


def _is_anything_named(names: Names, headers: RawHeaders) -> bool:
    """Tell whether `Connection` names a field that is not in the fixed list anyway."""
    places = names.places.get(b"connection")
    return places is not None and any(headers[place][1].lower() not in _ONLY_OF_CONNECTION for place in places)


def _dropped(names: Names, headers: RawHeaders) -> frozenset[bytes]:
    """Return the names of the fields that stay on their connection."""
    named: set[bytes] = set()
    for place in names.places.get(b"connection", ()):
        options = headers[place][1].lower()
        if options not in _ONLY_OF_CONNECTION:
            named.update(token.strip() for token in options.split(b","))
    # Without its length the body would be taken for another request's beginning, or for none.
    named.discard(b"content-length")
    return _always_dropped(names) | named


@of_names
def _always_dropped(names: Names) -> frozenset[bytes]:
    """Return those of them that no `Connection` has to name; a length beside `Transfer-Encoding` does not count."""
    return HOP_BY_HOP | {b"content-length"} if b"transfer-encoding" in names.places else HOP_BY_HOP


@of_names
def _ours(names: Names) -> frozenset[bytes]:
    return frozenset(name for name in names.lower if name.startswith(OUR_PREFIX))


def _with_one_length(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    kept: list[tuple[bytes, bytes]] = []
    has_length = False
    for name, value in fields:
        if name.lower() != b"content-length":
            kept.append((name, value))
        elif not has_length:
            has_length = True
            kept.append((name, value.partition(b",")[0].strip()))
    return kept


def recorded_request(headers: RawHeaders, *, capture: str = "full", proxy_key: str | None = None) -> HeaderList:
    """Return the request fields that may be written down: an allow-list, so that no credential ever can be.

    Args:
        headers: As the client sent them.
        capture: What is kept of the call; stands for what the client asked for when it is less than everything.
        proxy_key: Name of the proxy key that let the call in; what the client calls it does not count.
    """
    kept = [_text(name, headers[place][1]) for name, place in _recorded_of_request(names_of(headers))]
    if capture != "full":
        kept.append(("x-tracemill-capture", str(capture)))
    if proxy_key is not None:
        kept.append(("x-tracemill-proxy-key", proxy_key))
    return tuple(kept)


def recorded_response(headers: RawHeaders) -> HeaderList:
    """Return the response fields that may be written down."""
    return tuple([_text(name, headers[place][1]) for name, place in _recorded_of_response(names_of(headers))])


@of_names
def _recorded_of_request(names: Names) -> list[tuple[str, int]]:
    """Return what may be recorded of a request: names and places."""
    return [
        (name.decode("latin-1"), place)
        for place, name in enumerate(names.lower)
        if name in _RECORDED_REQUEST or (name.startswith(_RECORDED_REQUEST_PREFIXES) and name not in _SAID_BY_US)
    ]


@of_names
def _recorded_of_response(names: Names) -> list[tuple[str, int]]:
    return [(name.decode("latin-1"), place) for place, name in enumerate(names.lower) if name in _RECORDED_RESPONSE]


def key_fingerprint(headers: RawHeaders, salt: bytes) -> str | None:
    """Return a salted fingerprint of the client's key, which tells clients apart and cannot be turned back.

    Returns:
        16 hexadecimal digits, or None when the call held no key.
    """
    place = _key_place(names_of(headers))
    return None if place is None else _fingerprint(salt, headers[place][1])


@of_names
def _key_place(names: Names) -> int | None:
    return next((names.places[name][0] for name in _CREDENTIALS if name in names.places), None)


def _fingerprint(salt: bytes, key: bytes) -> str:
    # A client sends the same key with every call. What is remembered it by is no key: a hash with a random start.
    place = hash((salt, key))
    known = _fingerprints.get(place)
    if known is None:
        if len(_fingerprints) >= _MAX_FINGERPRINTS:
            _fingerprints.clear()
        known = _fingerprints[place] = hmac.digest(salt, key, "sha256").hex()[:16]
    return known


def _text(name: str, value: bytes) -> tuple[str, str]:
    # Field values are opaque octets (RFC 9110, 5.5); Latin-1 maps each to one character and back.
    return name, value.decode("latin-1")
