"""An answer in the person's own editor, and back.

One answer of plain text is edited as text, anything else (several answers, tool calls, content parts) as the JSON array
of the messages that are learned. What comes back is checked as rows are; a text that does not pass stays in its file.
"""

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processing.datasets.row_filter import answer_fault
from processing.datasets.row_form import RowFormError, example_of
from store.datasets.edit import edited, learned_positions
from store.errors import DatasetError

Json = Any
_PLAIN = frozenset({"role", "content", "weight"})


class EditError(Exception):
    """An edit cannot be taken; the text tells why and holds no more of the row than its places."""


class Draft:
    """The answers of a row in a file, for as long as they are edited.

    Args:
        content: The row.
        folder: Where the file goes; whoever made it removes it.
    """

    def __init__(self, content: Mapping[str, Json], folder: Path) -> None:
        self._content = content
        self._messages: Sequence[Mapping[str, Json]] = content["messages"]
        self._positions = learned_positions(self._messages)
        answers = [self._messages[position] for position in self._positions]
        self.is_text = len(answers) == 1 and answers[0].keys() <= _PLAIN and isinstance(answers[0]["content"], str)
        self._path = folder / f"answer.{'txt' if self.is_text else 'json'}"
        self._begun = str(answers[0]["content"]) if self.is_text else _json_text(answers)
        self._path.write_text(_with_end(self._begun), "utf-8", "surrogatepass")

    def open_editor(self) -> None:
        """Wait for the editor of VISUAL or EDITOR, else `vi`.

        Raises:
            EditError: There is none of that name, or it reports a failure.
        """
        command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        try:
            with _deaf_to_interrupts():
                done = subprocess.run([*shlex.split(command), str(self._path)], check=False)  # noqa: S603 - the person's
        except (OSError, ValueError) as exc:
            raise EditError(f"the editor {command!r} cannot be started ({exc}). Set EDITOR to one that can.") from exc
        if done.returncode:
            raise EditError(f"the editor {command!r} ended with {done.returncode}.")

    def messages(self) -> list[Json] | None:
        """Read what was written as the messages of the row; None when nothing was changed.

        Raises:
            EditError: It cannot be the answer of this row.
        """
        try:
            # As bytes: reading as text would turn an answer's CR LF into LF.
            text = self._path.read_bytes().decode("utf-8", "surrogatepass")
        except (OSError, UnicodeDecodeError) as exc:
            raise EditError(f"the file cannot be read: {exc}.") from exc
        # Editors end the last line, whether the answer ended it or not.
        text = text.removesuffix("\n") if not self._begun.endswith("\n") else text
        if text == self._begun:
            return None
        messages = list(self._messages)
        for position, answer in zip(self._positions, self._answers(text), strict=True):
            messages[position] = answer
        if messages == list(self._messages):
            return None
        return checked(self._content, messages)

    def _answers(self, text: str) -> list[Json]:
        if self.is_text:
            return [{**self._messages[self._positions[0]], "content": text}]
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise EditError(f"this is not JSON: {exc}.") from exc
        if not isinstance(found, list) or len(found) != len(self._positions):
            raise EditError(f"a JSON array of {len(self._positions)} messages is expected.")
        return found


def checked(content: Mapping[str, Json], messages: Sequence[Json]) -> list[Json]:
    """Hold an edit against all that a row has to be; give its messages back.

    Raises:
        EditError: It cannot be the answer of this row.
    """
    try:
        new = edited(content, messages, "somebody")
        fault = answer_fault(example_of(new))
    except DatasetError as exc:
        raise EditError(str(exc)) from exc
    except RowFormError as exc:
        raise EditError(f"{exc.detail}.") from exc
    if fault is not None:
        raise EditError(f"it would be dropped as {fault.reason} (message {fault.detail.get('position')}).")
    return list(messages)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Leave Ctrl-C to the editor, which uses it: it goes to all processes of a terminal. A handler is not inherited."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _json_text(answers: Sequence[Mapping[str, Json]]) -> str:
    return json.dumps(answers, indent=2, ensure_ascii=False)


def _with_end(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"
