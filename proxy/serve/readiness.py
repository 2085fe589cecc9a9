"""How a process says that it serves: one byte through a pipe, so that nobody has to guess or to ask a shared port."""

import asyncio
import os


class Readiness:
    """The supervisor's side of the pipe.

    Attributes:
        write_end: Descriptor for the process; closed here once it has been started.
    """

    def __init__(self) -> None:
        """Make the pipe."""
        self._read_end, self.write_end = os.pipe()
        self._is_ready = False
        self._has_spoken = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._read_end, self._take)

    def was_given(self) -> None:
        """Let go of the process's end, so that its death is seen."""
        os.close(self.write_end)

    async def wait(self, patience_s: float) -> bool:
        """Tell whether the process came to serve within that time."""
        try:
            async with asyncio.timeout(patience_s):
                await self._has_spoken.wait()
        except TimeoutError:
            self._close()
        return self._is_ready

    def _take(self) -> None:
        self._is_ready = bool(os.read(self._read_end, 1))
        self._close()
        self._has_spoken.set()

    def _close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._read_end)
        os.close(self._read_end)


def say_ready(write_end: int) -> None:
    """Say it, from within the process."""
    try:
        os.write(write_end, b"1")
    except BrokenPipeError:
        return  # the supervisor has given up on us, and says so by a signal
    finally:
        os.close(write_end)
