"""References to versions of datasets: `NAME-v3`, or `NAME` for the one that an operation is about."""

import re
from typing import Protocol

from tracemill.client.call import API, part


class Labelled(Protocol):
    """Something that a version is known by, such as a version that another method gave."""

    @property
    def label(self) -> str:
        """What the version is called."""


Reference = str | Labelled
"""`NAME-v3`, or `NAME` for the one that an operation is about; or a version itself."""

_LABEL = re.compile(r"(.+)-v([1-9][0-9]*)")


def as_text(reference: Reference) -> str:
    """Write a reference."""
    return reference if isinstance(reference, str) else reference.label


def version_path(reference: Reference, otherwise: str = "newest") -> str:
    """Give the path of the version that a reference stands for; `otherwise` tells what a name alone stands for."""
    written = as_text(reference)
    found = _LABEL.fullmatch(written)
    name, number = (found[1], found[2]) if found else (written, otherwise)
    return f"{API}/datasets/{part(name)}/versions/{number}"
