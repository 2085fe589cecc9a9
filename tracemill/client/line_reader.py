r"""Cutting a body that comes in blocks into its lines: at `\n` alone, as JSON may hold every other line end."""

from collections.abc import Iterator


class LineReader:
    """Takes blocks and gives whole lines."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def take(self, block: bytes) -> Iterator[bytes]:
        r"""Give the lines that end in this block, each with its `\n`."""
        *ended, rest = block.split(b"\n")
        for line in ended:
            yield b"".join([*self._rest, line, b"\n"])
            self._rest.clear()
        if rest:
            self._rest.append(rest)

    def end(self) -> bytes:
        """Give what stands after the last line; nothing when the body was whole."""
        return b"".join(self._rest)
