"""The dataclasses of which every call makes some: frozen by the type checker alone.

A frozen dataclass sets each field by a call of `object.__setattr__`, which is three times the work: 5 µs more for the
fifty fields of a call and its trace. So mypy sees a frozen dataclass, and refuses whoever sets a field; what runs has
the same equality and the same hash, and is not frozen.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

__all__ = ["record"]

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from dataclasses import dataclass

    def record(*, frozen: bool, slots: bool) -> Callable[[type], type]:
        """Make a dataclass; that it is frozen is for the type checker."""
        return dataclass(slots=slots, unsafe_hash=frozen)
