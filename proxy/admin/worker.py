"""What only the processing can tell or make, done by processes of their own: nothing that serves knows it.

Each answers with one line of JSON first: `{"problem": null, …}`, or what is wrong and with which `param`. An export
goes on with its bytes.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from proxy.admin.refusal import AdminRefusal, Code
from proxy.job_teacher import JobTeacher, teachers_line

_AT_ONCE = 2
_LONGEST_S = 60.0
_BLOCK_BYTES = 64 * 1024
_LINE_BYTES = 256 * 1024
"""Twice as much of an answer is held for a reader who is slow."""


class Stream(NamedTuple):
    """An answer that goes on behind its first line.

    Attributes:
        head: The first line.
        blocks: What follows it, as it comes.
    """

    head: dict[str, Any]
    blocks: AsyncIterator[bytes]


class Worker:
    """Starts processes of the processing and hears what they say.

    Args:
        command: What checks and runs jobs; empty where none is.
        servers: Servers that jobs may ask.
    """

    def __init__(self, command: Sequence[str], servers: Sequence[JobTeacher]) -> None:
        self._command = tuple(command)
        self._servers = tuple(servers)
        self._asked = asyncio.Semaphore(_AT_ONCE)
        self._streams = asyncio.Semaphore(_AT_ONCE)

    @property
    def is_there(self) -> bool:
        """Whether there is anything to start."""
        return bool(self._command)

    async def check(self, folder: Path) -> None:
        """Check the job of a folder as its run will read it.

        Raises:
            AdminRefusal: It cannot be run as asked, or could not be checked.
        """
        await self.ask("check", str(folder), refusal=Code.INVALID_BODY)

    async def ask(self, *arguments: str, refusal: Code) -> dict[str, Any]:
        """Have a question answered.

        Args:
            arguments: Of the command.
            refusal: What a problem is answered with.

        Raises:
            AdminRefusal: There is a problem, or no answer.
        """
        async with self._asked:
            process = await self._start(arguments)
            try:
                async with asyncio.timeout(_LONGEST_S):
                    said, _ = await process.communicate(teachers_line(self._servers))
                return _read(said, refusal)
            except TimeoutError as exc:
                raise _no_answer() from exc
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    @asynccontextmanager
    async def stream(self, *arguments: str, refusal: Code) -> AsyncIterator[Stream]:
        """Have something made and give it as it comes; the process ends with the block. Raises as `ask`."""
        # Until the first line: what is slow from there on is who reads it, and costs no processor.
        await self._streams.acquire()
        try:
            process = await self._start(arguments)
        except BaseException:
            self._streams.release()
            raise
        try:
            assert process.stdin is not None  # noqa: S101 - pipes were asked for
            assert process.stdout is not None  # noqa: S101
            try:
                with contextlib.suppress(ConnectionError):
                    process.stdin.write(teachers_line(self._servers))
                    await process.stdin.drain()
                head = _read(await process.stdout.readline(), refusal)
            finally:
                self._streams.release()
            yield Stream(head, _blocks(process, process.stdout))
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())

    async def _start(self, arguments: Sequence[str]) -> asyncio.subprocess.Process:
        if not self._command:
            raise AdminRefusal(Code.STORE_UNAVAILABLE, "The server was started with no_capture, and works on nothing.")
        return await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LINE_BYTES,
        )


async def _blocks(process: asyncio.subprocess.Process, said: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while block := await said.read(_BLOCK_BYTES):
        yield block
    if await process.wait() != 0:
        # Nothing can be answered any more; the body that breaks off says that it is not whole.
        raise ConnectionError("the process that makes the answer died")


def _read(said: bytes, refusal: Code) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(said)
        problem = found["problem"]
    except (ValueError, KeyError, TypeError) as exc:
        raise _no_answer() from exc
    if problem is not None:
        raise AdminRefusal(refusal, _sendable(problem), param=found["param"])
    return found


def _sendable(text: str) -> str:
    """Write out what no answer can hold: names of columns come from files, and may have halves of characters."""
    return text.encode("utf-8", "backslashreplace").decode()


def _no_answer() -> AdminRefusal:
    return AdminRefusal(Code.STORE_UNAVAILABLE, "That could not be done; the server's log says why. Ask again.")
