"""The demo's only source of chance: a hash, so that every run makes the same choices."""

import hashlib
import json


def digest(*parts: object) -> int:
    """Hash JSON values to a 64-bit number; key order does not matter."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def chance(*parts: object) -> float:
    """Hash JSON values to a number in [0, 1)."""
    return digest(*parts) / 2**64
