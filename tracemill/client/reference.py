"""References to versions of datasets: `NAME-v3`, or `NAME` for the one that an operation is about."""

import re

from tracemill.client.call import API, part

_LABEL = re.compile(r"(.+)-v([1-9][0-9]*)")


def version_path(reference: str, otherwise: str = "newest") -> str:
    """Give the path of the version that a reference stands for; `otherwise` tells what a name alone stands for."""
    found = _LABEL.fullmatch(reference)
    name, number = (found[1], found[2]) if found else (reference, otherwise)
    return f"{API}/datasets/{part(name)}/versions/{number}"
