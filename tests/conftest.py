import signal


def pytest_configure() -> None:
    """Let Ctrl-C mean something to our children: what a shell runs in the background inherits that it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
