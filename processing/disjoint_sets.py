"""Disjoint sets: things that belong together because each is joined to another one of them."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class DisjointSets(Generic[K]):
    """Disjoint sets; a name that was never joined is a set of its own."""

    def __init__(self) -> None:
        self._parents: dict[K, K] = {}

    def find(self, name: K) -> K:
        """Give the name that stands for all of its set; it changes as sets are joined."""
        root = name
        while (parent := self._parents.get(root, root)) != root:
            root = parent
        while name != root:
            self._parents[name], name = root, self._parents.get(name, root)
        return root

    def join(self, first: K, second: K) -> None:
        """Make one set of two."""
        one, other = self.find(first), self.find(second)
        if one != other:
            self._parents[other] = one
