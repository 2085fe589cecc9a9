"""What a connection that ends has still to say."""

import socket
import ssl
from collections.abc import Iterator

_MAX_BYTES = 256 * 1024


def last_bytes_of_socket(fileno: int) -> Iterator[bytes]:
    """Give what lies unread in a socket whose transport has failed.

    An upstream may answer and close before it has read a request to its end. Our next write then fails, and asyncio
    gives the connection up together with the answer that has arrived already.
    """
    try:
        copy = socket.socket(fileno=socket.dup(fileno))
    except OSError:
        return
    with copy:
        left = _MAX_BYTES
        while left > 0:
            try:
                data = copy.recv(left, socket.MSG_DONTWAIT)
            except OSError:
                return
            if not data:
                return
            left -= len(data)
            yield data


def last_bytes_of_tls(tls: ssl.SSLObject) -> Iterator[bytes]:
    """Give what TLS has received and not handed on.

    When the connection ends while reading is paused, uvloop tells of the end and forgets these.
    """
    while True:
        try:
            data = tls.read(_MAX_BYTES)
        except ssl.SSLError:
            return
        if not data:
            return
        yield data


def ended_with_notice(tls: ssl.SSLObject) -> bool:
    """Tell whether the peer has closed TLS itself, and not just the connection under it (RFC 8446, 6.1)."""
    try:
        return tls.read(1) == b""
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False
