"""Cases that fail today, each with its reason; an entry that no longer fails is an error."""

from collections.abc import Iterable
from typing import Any

import pytest

KNOWN_GAPS: dict[str, str] = {}


def with_gaps(names: Iterable[str]) -> list[Any]:
    """Return the names as parameters of a test, those with a known gap marked as expected to fail."""
    return [
        pytest.param(
            name, marks=[pytest.mark.xfail(reason=KNOWN_GAPS[name], strict=True)] if name in KNOWN_GAPS else []
        )
        for name in names
    ]
