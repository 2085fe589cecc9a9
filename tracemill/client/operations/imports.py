"""Storing calls that others recorded."""

from collections.abc import Iterable, Mapping
from typing import BinaryIO

from proxy.admin.shapes.imports import ImportReport
from tracemill.client.blocks import in_blocks
from tracemill.client.call import API, LINES, Asked, Call, as_shape


def import_calls(
    lines: bytes | BinaryIO | Iterable[bytes],
    *,
    format: str = "auto",  # noqa: A002
    tags: Mapping[str, str] | None = None,
    dry_run: bool = False,
) -> Call[ImportReport]:
    r"""Store calls that others recorded; what is there already is not stored twice.

    Args:
        lines: JSON Lines, plain or as gzip or zstd: as bytes, as a file opened for reading bytes, or as lines, each
            ending in `\n`. A file is sent in blocks, so it may be larger than the memory.
        format: How the lines are written, as in docs/import.md; `auto` tells it line by line.
        tags: Tags for every trace; without commas and equals signs.
        dry_run: Whether to read and count alone.

    Returns:
        What was read and stored, and what could not be read and why. `stored` is None where it is on the disk and
        ingest comes to it later.
    """
    joined = ",".join(f"{name}={value}" for name, value in tags.items()) if tags else None
    query = {"format": format, "tags": joined, "dry_run": dry_run}
    body = lines if isinstance(lines, bytes) else in_blocks(lines)
    return Call(Asked("import_calls", "POST", f"{API}/import", query, body, LINES), as_shape(ImportReport))
