"""What the kernel knows of the other end of a connection, and asyncio does not tell."""

import fcntl
import socket
import sys
import termios

_TCP_ESTABLISHED = 1


def has_left(raw: socket.socket) -> bool:
    """Tell whether the peer has closed or reset its side, though nothing is read from the socket.

    Known on Linux; elsewhere every connection counts as established.
    """
    option = getattr(socket, "TCP_INFO", None)
    if option is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    return raw.getsockopt(socket.IPPROTO_TCP, option, 1)[0] != _TCP_ESTABLISHED


def untaken_bytes(fileno: int) -> int:
    """Return how much the kernel holds that the peer has not taken: unsent, or sent and not acknowledged.

    The kernel's buffer is megabytes large, and tells of room in it only when a third is free: without this number a
    peer on a slow line would seem to stand still. 0 where the kernel does not tell.
    """
    in_kernel = bytearray(4)
    try:
        fcntl.ioctl(fileno, termios.TIOCOUTQ, in_kernel)
    except OSError:
        return 0
    return int.from_bytes(in_kernel, sys.byteorder)
