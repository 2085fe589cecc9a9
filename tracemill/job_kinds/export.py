"""Export of a version to whoever reads it: a line that says what comes, then the bytes of a file or of a tar archive.

The files are written first, into a folder of their own inside the data directory, as an export writes any: so what
cannot be exported is said before the first byte, and what comes is whole.
"""

import asyncio
import json
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from processing.exports.export import export_version, find_format
from processing.exports.wanted import Wanted
from store.data_files import WORK_FILE
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part


async def export(data_dir: Path, folder: Path, asked: Mapping[str, Any], out: BinaryIO) -> None:
    """Write a version out.

    Args:
        data_dir: The data directory.
        folder: Is made and filled; whoever asks removes it.
        asked: `reference`, `format`, `part` and `without_erased`.
        out: Where it goes.

    Raises:
        ProcessingError: It cannot be exported as asked; nothing was written out.
        StoreError: There is no such version.
    """
    part = None if asked["part"] is None else Part(asked["part"])
    name = asked["reference"] if part is None else f"{asked['reference']}-{part}{_ending(asked['format'])}"
    await asyncio.to_thread(folder.mkdir, mode=0o700)
    wanted = Wanted(asked["format"], out=folder / name, part=part, without_erased=asked["without_erased"])
    async with await DatasetStore.open_to_read(data_dir / WORK_FILE) as store:
        done = await export_version(store, asked["reference"], wanted)
    assert done.out is not None, "an export to a place has made it"  # noqa: S101
    is_folder = done.out.is_dir()
    head = {"problem": None, "name": f"{name}.tar" if is_folder else name, "notes": list(done.notes)}
    out.write(json.dumps(head).encode() + b"\n")
    if is_folder:
        with tarfile.open(fileobj=out, mode="w|") as archive:
            archive.add(done.out, arcname=name)
    else:
        with done.out.open("rb") as file:
            shutil.copyfileobj(file, out)
    out.flush()


def _ending(format_name: str) -> str:
    """Give the ending of a single file, that of the folder's files where it can stand alone."""
    target = find_format(format_name)
    if not target.files:
        return ""
    return str(target.folder if target.folder in target.files else target.files[0])
