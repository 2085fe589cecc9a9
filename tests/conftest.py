import signal

import pytest

FIRST = ("tests/acceptance/", "tests/contract/", "tests/store/", "tests/tracemill/")
"""Their files take longest, and what comes last decides how long one worker goes on after the others."""


def pytest_configure() -> None:
    """Let Ctrl-C mean something to our children: what a shell runs in the background inherits that it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))
