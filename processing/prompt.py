"""The prompts: files of this package, addressed by the hash of their text, with trace text fenced off as data."""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

from store import json_text
from store.recorded.message import Json

_UNSEEN = re.compile(
    r"[\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
"""Characters without a glyph: format and control characters, variation selectors, fillers, other ends of lines."""


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

    The data travel as JSON on one line between two lines with a delimiter that is derived from them: the same data give
    the same request, and no text can hold its own delimiter. Characters that nobody sees or that a model may take for
    the end of a line (zero width, direction, tags, U+2028) are written as escapes.

    Args:
        name: Prompt file; it becomes the system message and may use `$fence`.
        data: What is asked about.
        values: For the other places of the prompt.
    """
    text = _UNSEEN.sub(_escape, json_text.dumps(data).decode())
    fence = f"DATA-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
    return [
        {"role": "system", "content": prompt(name).fill(fence=fence, **values)},
        {"role": "user", "content": f"{fence}\n{text}\n{fence}"},
    ]


def _escape(found: re.Match[str]) -> str:
    """The character as JSON escapes it: a pair of surrogates beyond the first 65,536."""
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
