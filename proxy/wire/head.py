r"""The heads of HTTP/1.1 messages as bytes: what is one, what is not, and nothing changed (RFC 9112, 2 to 5).

Both sides get the same care and not the same patience. A request that the grammar forbids is refused: whoever reads it
otherwise than the next server does can be made to smuggle (RFC 9112, 11.2). A response head is what the operator's own
upstream sent, and clients read more than the grammar allows; line feeds alone, folded lines and space before a colon
are put right as RFC 9112 (2.2, 5.1, 5.2) tells a proxy to, anything else is refused.

Field names keep their case and fields their order: both are part of what a client would see without us.
"""

import re
from dataclasses import dataclass

from proxy.errors import HeadError
from proxy.wire.fields import Fields, head_fields

# `\x80-\xff` (obs-text) is let through in values and targets: it is opaque to a proxy, and clients send it.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
_FIELD_LINES = rb"((?:" + _TOKEN + rb":" + _VALUE + rb"\r\n)*+)\r\n"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e\x80-\xff]++) HTTP/(1\.[01])\r\n" + _FIELD_LINES)
_RESPONSE = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9][0-9])(?: (" + _VALUE + rb"))?\r\n" + _FIELD_LINES)
_FIELD = re.compile(rb"([^:]+):[ \t]*([^\r]*)\r\n")
_OTHER_VERSION = re.compile(rb"[^\r\n]* HTTP/[0-9](?:\.[0-9])?\r\n")
_FIELD_SECTION = re.compile(_FIELD_LINES)

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_FOLD = re.compile(rb"[ \t]*\r\n[ \t]+")
_SPACE_BEFORE_COLON = re.compile(rb"(\r\n" + _TOKEN + rb")[ \t]+:")


@dataclass(slots=True)
class RequestHead:
    """A request without its body.

    Attributes:
        method: In its own case; any token.
        target: As it stood on the request line.
        version: `1.0` or `1.1`.
    """

    method: bytes
    target: bytes
    version: bytes
    fields: Fields


@dataclass(slots=True)
class ResponseHead:
    """A response without its body.

    Attributes:
        version: `1.0` or `1.1`.
        reason: The words after the status; may be empty.
    """

    version: bytes
    status: int
    reason: bytes
    fields: Fields


def parse_request_head(head: bytes) -> RequestHead:
    """Read a request's head, from its request line to the blank line.

    Raises:
        HeadError: It is not one; the error holds the status to answer with.
    """
    found = _REQUEST.fullmatch(head)
    if found is None:
        if _REQUEST.match(head) is None and (other := _OTHER_VERSION.match(head)) and b" HTTP/1." not in other.group():
            raise HeadError(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        raise HeadError(400, "the head of the request breaks the grammar of HTTP/1.1 (RFC 9112)")
    method, target, version, lines = found.groups()
    return RequestHead(method, target, version, head_fields(_fields(lines), len(lines)))


def parse_response_head(head: bytes) -> ResponseHead:
    """Read a response's head, from its status line to the blank line.

    Raises:
        HeadError: It is not one, and could not be put right.
    """
    found = _RESPONSE.fullmatch(head) or _RESPONSE.fullmatch(_put_right(head))
    if found is None:
        raise HeadError(502, "the head of the answer breaks the grammar of HTTP/1.1 (RFC 9112)")
    version, status, reason, lines = found.groups()
    return ResponseHead(version, int(status), reason or b"", head_fields(_fields(lines), len(lines)))


def parse_trailers(section: bytes) -> Fields:
    """Read a trailer section with the blank line that ends it.

    Raises:
        HeadError: A line is no field.
    """
    found = _FIELD_SECTION.fullmatch(section)
    if found is None:
        raise HeadError(400, "a trailer field breaks the grammar of HTTP/1.1 (RFC 9112)")
    return _fields(found[1])


def find_response_head_end(data: bytes) -> int:
    """Return the place just behind the blank line that ends a response's head, -1 when it has not come."""
    found = _HEAD_END.search(data)
    return -1 if found is None else found.end()


def encode_head(start_line: bytes, fields: Fields) -> bytes:
    """Return a head as it goes over the wire; the caller vouches that the fields are fields."""
    lines = [start_line]
    lines += [name + b": " + value for name, value in fields]
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def _fields(lines: bytes) -> Fields:
    fields: Fields = _FIELD.findall(lines)
    if b" \r\n" in lines or b"\t\r\n" in lines:
        fields = [(name, value.rstrip(b" \t")) for name, value in fields]
    return fields


def _put_right(head: bytes) -> bytes:
    lines = _LINE_END.sub(b"\r\n", head).rstrip(b"\r\n")
    return _SPACE_BEFORE_COLON.sub(rb"\1:", _FOLD.sub(b" ", lines)) + b"\r\n\r\n"
