"""The prompts: files of this package, addressed by the hash of their text, with trace text fenced off as data."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

from store import json_text
from store.recorded.message import Json


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt file.

    Attributes:
        name: File name without its suffix.
        text: Its template; `$name` stands for a value.
        hash: First 16 digits of the text's BLAKE2b, as the lineage shows it.
    """

    name: str
    text: str
    hash: str

    def fill(self, **values: str) -> str:
        """Put the values in their places; each place has to get one."""
        return Template(self.text).substitute(values).strip()


@cache
def prompt(name: str) -> Prompt:
    """Read `processing/prompts/<name>.txt`."""
    text = (files("processing") / "prompts" / f"{name}.txt").read_text("utf-8")
    return Prompt(name, text, hashlib.blake2b(text.encode(), digest_size=8).hexdigest())


def hashes() -> dict[str, str]:
    """Name and hash of every prompt file, sorted."""
    folder = files("processing") / "prompts"
    names = sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt"))
    return {name: prompt(name).hash for name in names}


def ask(name: str, data: Json, **values: str) -> list[dict[str, Json]]:
    """Make the messages of a question about data that others wrote.

    The data travel as JSON between two lines with a delimiter that is derived from them: the same data give the same
    request, and no text can hold its own delimiter.

    Args:
        name: Prompt file; it becomes the system message and may use `$fence`.
        data: What is asked about.
        values: For the other places of the prompt.
    """
    text = json_text.dumps(data).decode()
    fence = f"DATA-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
    return [
        {"role": "system", "content": prompt(name).fill(fence=fence, **values)},
        {"role": "user", "content": f"{fence}\n{text}\n{fence}"},
    ]
