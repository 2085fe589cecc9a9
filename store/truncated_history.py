"""Histories without their beginning: clients that send only the last messages, with or without the system prompt.

Stitch keys cover a history from its first message, so they are of no use here. A *window* is the last four messages up
to a reply, whatever came before. A call that goes on from no reply by its whole history is joined to the call whose
history ends in the window that stands before its new messages, where

- the four messages are those of one client (`user` and key are equal) under one system prompt (or without one);
- they say at least 200 characters: four messages such as "yes" and "ok" are common to strangers;
- exactly one reply of the whole store ends this window, and no more than eight requests seek it. What is common to
  several histories tells nothing about which of them goes on here, so nothing is joined rather than strangers.

Four messages hold two whole replies in most chats, and clients that keep less are rare; a reply that a model wrote, to
the letter, after a message to the letter, after another such pair, is hard to meet by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from store.json_text import loads
from store.trace import JsonText
from store.tree import Link, message_key

WINDOW_MESSAGES = 4
MOST_SHARING = 8
"""A window that more points or requests share than this joins nothing and costs nothing more."""
_LEAST_CHARACTERS = 200
_WINDOW_TAG = b"tracemill window 1\n"
_KEY_BYTES = 8

Who = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Seeking:
    """A window in a request that would tell where its beginning is, if that was dropped.

    Attributes:
        who: User and key of the client.
        links: The window's messages.
        system: Short key of the system messages that the request begins with; empty when it has none.
    """

    who: Who
    links: Sequence[Link]
    system: bytes

    def window(self, said: "SaidBefore") -> bytes | None:
        """Give the window; None when too little is said in it to tell histories apart."""
        if sum(_characters(link.message) for link in self.links) < _LEAST_CHARACTERS:
            return None
        return said.window(self.who, self.links)


class SaidBefore:
    """What messages say apart from their histories, with a bounded memory of those seen lately."""

    def __init__(self, size: int = 10_000) -> None:
        """Remember at least the last `size` messages and at most twice as many; some 150 bytes each."""
        self._size = size
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def window(self, who: Who, links: Sequence[Link]) -> bytes:
        """Hash messages, with who sent them, and without what came before."""
        names = repr(who).encode("ascii", "backslashreplace")
        said = b"".join([self._key(link) for link in links])
        return blake2b(_WINDOW_TAG + said + names, digest_size=_KEY_BYTES).digest()

    def _key(self, link: Link) -> bytes:
        key = self._young.get(link.id) or self._old.get(link.id)
        if key is None:
            key = message_key(link.message)
            if len(self._young) >= self._size:
                self._old, self._young = self._young, {}
            self._young[link.id] = key
        return key


def _characters(message: JsonText) -> int:
    value = loads(message)
    content = value.get("content") if isinstance(value, dict) else None
    return len(content.strip()) if isinstance(content, str) else len(message)
