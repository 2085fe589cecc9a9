"""Counts with what they count, as people write them."""


def counted(count: int, noun: str) -> str:
    """Write how many there are: `1 trace`, `1,204 traces`. The noun is given as for one, and takes an s for more."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
