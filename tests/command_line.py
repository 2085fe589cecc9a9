"""The command line in the process of the test, for what a command says, does and ends with.

To start a process costs ten times what most commands do. What only a process of its own can show, that a command starts
from nothing, is killed or is told to stop, is shown with one.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tracemill.cli import main


def run_here(
    arguments: Sequence[object], folder: Path | None = None, environ: Mapping[str, str] | None = None
) -> CompletedProcess[str]:
    """Run one command to its end, as if in a folder and an environment of its own."""
    command = ["tracemill", *map(str, arguments)]
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    with (
        _surroundings(command, folder or Path.cwd(), os.environ if environ is None else environ),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    code = end.value.code
    assert code is None or isinstance(code, int)
    return CompletedProcess(command, code or 0, _text_of(out), _text_of(err))


@contextlib.contextmanager
def _surroundings(command: list[str], folder: Path, environ: Mapping[str, str]) -> Iterator[None]:
    own_argv, own_environ, own_umask = sys.argv, dict(os.environ), os.umask(0o022)
    given = dict(environ)
    try:
        with contextlib.chdir(folder):
            sys.argv = command
            os.environ.clear()
            os.environ.update(given)
            yield
    finally:
        sys.argv = own_argv
        os.environ.clear()
        os.environ.update(own_environ)
        os.umask(own_umask)


def _text_of(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
