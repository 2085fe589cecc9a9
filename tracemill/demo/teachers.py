"""How the scripted models answer the processor's own prompts. Nothing here yet knows them."""

from typing import Any


def answer(_request: dict[str, Any]) -> dict[str, Any] | None:
    """Give the reply to a prompt of the processor, None when the request is none of them."""
    return None
