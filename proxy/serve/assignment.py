"""What the supervisor tells a process that it starts: one line of JSON on its standard input."""

import json
from typing import Any, NamedTuple


class Assignment(NamedTuple):
    """What a process is told.

    Attributes:
        settings: All settings, secrets in the clear: they travel through a pipe, not through arguments or environment.
        salt: For key fingerprints and the placeholders of redaction, hexadecimal.
        listener: Descriptor of the inherited listening socket; None for a process that listens to nobody.
        ready: Descriptor to say by that the process serves; None when nobody waits for that.
        job_command: The command that checks and runs filed jobs; empty where none run.
    """

    settings: dict[str, Any]
    salt: str
    listener: int | None
    ready: int | None = None
    job_command: tuple[str, ...] = ()

    def to_line(self) -> bytes:
        """Return the line that `from_line` reads."""
        return json.dumps(self._asdict()).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Assignment":
        """Read what `to_line` wrote."""
        return cls(**json.loads(line))
