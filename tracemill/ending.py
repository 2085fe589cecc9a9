"""How a command of ours ends: what it prints instead of a traceback, and its exit code."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

EXIT_BAD_INPUT = 1
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Make of an error what a person can read; let any that is not foreseen through."""
    try:
        yield
    except SystemExit:
        raise
    except BrokenPipeError:
        # The reader of our output has seen enough (`tracemill export -o - | head`).
        _leave_without_output()
    except OSError as error:
        if error.filename is not None or error.errno not in _NO_ROOM:
            raise
        sys.stderr.write(f"error: standard output cannot be written: {error.strerror}.\n")
        _leave_without_output()
    except _told_errors() as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(EXIT_BAD_INPUT)


def _told_errors() -> tuple[type[Exception], ...]:
    """Give the errors whose message is all a person needs; asked for only when something went wrong."""
    from processing.errors import ProcessingError
    from proxy.errors import ProxyError
    from store.errors import StoreError

    return ProxyError, StoreError, ProcessingError


def _leave_without_output() -> NoReturn:
    """Exit without a last try to write what is still buffered, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(EXIT_BAD_INPUT)
