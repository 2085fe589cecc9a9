"""What a client says a call is for: session, user and tags, from our own headers and from those of other gateways.

The headers of other gateways are read so that an application moves over without a change; ours win where both speak.
A header that cannot be read as its format says is taken as one bare tag or left out: it never fails a call.
"""

import json

from proxy.assembly.completion import encodable
from proxy.journal.raw_call import HeaderList
from proxy.traceparent import TraceParent
from store import json_text
from store.json_text import JsonTextError, JsonValue
from store.record import record

_SESSION_HEADERS = ("x-tracemill-session", "helicone-session-id", "x-portkey-trace-id", "x-litellm-session-id")
_USER_HEADERS = ("x-tracemill-user", "helicone-user-id")
_TAG_HEADERS = ("x-litellm-tags", "x-portkey-metadata", "op-tags", "x-tracemill-tags")
"""Weakest first: a later header's tag replaces an earlier one's of the same name."""
_PROPERTY_PREFIX = "helicone-property-"
_PROXY_KEY = "x-tracemill-proxy-key"
"""The name of the proxy key that let the call in; written by the worker, which drops a client's field of this name."""
_TRACE_CONTEXT = "traceparent"
_READ_HEADERS = frozenset({*_SESSION_HEADERS, *_USER_HEADERS, *_TAG_HEADERS, _TRACE_CONTEXT, _PROXY_KEY})


@record(frozen=True, slots=True)
class Labels:
    """What the headers of one call say.

    Attributes:
        tags: Text to text; a bare tag has the value "". Values that were no text are their JSON text.
    """

    session: str | None
    user: str | None
    tags: dict[str, str]


def read_labels(headers: HeaderList) -> Labels:
    """Read session, user and tags; names in `headers` are in lower case."""
    headers = tuple([field for field in headers if field[0] in _READ_HEADERS or field[0].startswith(_PROPERTY_PREFIX)])
    if not headers:
        return Labels(session=None, user=None, tags={})
    values = {name: _decoded(value) for name, value in reversed(headers)}
    tags = {
        name.removeprefix(_PROPERTY_PREFIX): _decoded(value)
        for name, value in headers
        if name.startswith(_PROPERTY_PREFIX) and name != _PROPERTY_PREFIX
    }
    tags |= _trace_context(values.get(_TRACE_CONTEXT, ""))
    for name in _TAG_HEADERS:
        if text := values.get(name):
            tags |= _read_tags(text)
    if key_name := values.get(_PROXY_KEY):
        tags["proxy_key"] = key_name
    return Labels(session=_first(values, _SESSION_HEADERS), user=_first(values, _USER_HEADERS), tags=tags)


def _trace_context(value: str) -> dict[str, str]:
    """Give the tags by which a call of a distributed trace is found, and its span put under the client's."""
    parent = TraceParent.parse(value)
    return {} if parent is None else {"trace_id": parent.trace_id, "traceparent": str(parent)}


def _first(values: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := values.get(name))), None)


def _decoded(value: str) -> str:
    """Undo Latin-1 where the octets are UTF-8: clients send names in UTF-8, and header fields come as octets."""
    value = value.strip()
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return encodable(value)


def _read_tags(text: str) -> dict[str, str]:
    if text.startswith(("{", "[")):
        try:
            return _tags_of(json_text.loads(text.encode("utf-8")))
        except (JsonTextError, UnicodeEncodeError):
            pass
    pairs = (part.partition("=") for part in text.split(","))
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


def _tags_of(value: JsonValue) -> dict[str, str]:
    if isinstance(value, list):
        return {_tag_text(item): "" for item in value if item not in (None, "")}
    return {encodable(name): _tag_text(item) for name, item in value.items() if name and item is not None}


def _tag_text(value: JsonValue) -> str:
    return encodable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
