"""What versions were made of and could not be found again: prompts, and which traces were taken, each packed once.

The copies stand in the folder `kept` of the data directory under the hash of what they hold, for its owner's eyes
alone. An erasure does not reach them, so nothing is kept there that may have come from a trace: prompts that name one
are left out, and of traces the ids alone are kept.
"""

import gzip
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from processing.datasets.beginning import ADDED
from processing.datasets.prompt_file import Prompts
from processing.errors import InputError
from processing.kept_inputs import copy_input
from store.datasets.dataset_store import DatasetStore
from store.datasets.kept_folder import KEPT_FOLDER
from store.recorded.message import Json

_A_DAY_S: Final = 86_400


def keep_prompts(path: Path, prompts: Prompts, data_dir: Path) -> str | None:
    """Keep the prompts that a dataset is generated from; tell why not where they are not kept.

    Raises:
        InputError: The file has changed since it was read.
    """
    if prompts.names_traces:
        return "its prompts name traces, and a copy would outlive them"
    try:
        _keep(path, prompts.sha256, data_dir)
    except OSError as exc:
        return f"the copy could not be written ({exc.strerror})"
    return None


def keep_members(members: Sequence[tuple[str, int]], data_dir: Path) -> dict[str, str | int]:
    """Keep which traces were taken of which clusters, in their order; give what the manifest says of it.

    Raises:
        OSError: The copy cannot be written.
    """
    content = "".join(f"{trace} {cluster}\n" for trace, cluster in members).encode()
    sha256 = hashlib.sha256(content).hexdigest()
    with TemporaryDirectory(prefix="tracemill-") as folder:
        path = Path(folder) / "members"
        path.write_bytes(content)
        _keep(path, sha256, data_dir)
    return {"sha256": sha256, "traces": len(members)}


@contextmanager
def kept_copy(sha256: str, name: str, data_dir: Path) -> Iterator[Path | None]:
    """Unpack what was kept under its old name, until the block ends; None where it is not there.

    Raises:
        InputError: It is damaged.
    """
    copy = _place(sha256, data_dir)
    if not copy.exists():
        yield None
        return
    with TemporaryDirectory(prefix="tracemill-") as folder:
        path = Path(folder) / Path(name).name
        try:
            with gzip.open(copy, "rb") as packed, path.open("wb") as file:
                shutil.copyfileobj(packed, file)
            with path.open("rb") as file:
                is_sound = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except (OSError, EOFError) as exc:
            raise InputError(str(copy), f"cannot be read ({exc}). Restore it from a backup.") from exc
        if not is_sound:
            raise InputError(str(copy), "is damaged: it holds something else than its name says.")
        yield path


def read_members(path: Path) -> list[tuple[str, int]]:
    """Read what `keep_members` wrote."""
    with path.open() as file:
        return [(trace, int(cluster)) for trace, cluster in (line.split() for line in file)]


async def forget_unneeded(store: DatasetStore) -> None:
    """Delete copies that no version names, as of births that failed and of versions that were discarded.

    Those of the last day stay, since a version in the making may need them.
    """
    copies = list((store.folder / KEPT_FOLDER).glob("*.gz"))
    if not copies:
        return
    needed = {hash_ for version in await store.all_versions() for hash_ in _hashes(version.manifest)}
    for copy in copies:
        with suppress(FileNotFoundError):
            if copy.name.partition(".")[0] not in needed and copy.stat().st_mtime < time.time() - _A_DAY_S:
                copy.unlink()


def _hashes(manifest: Mapping[str, Json]) -> Iterator[str]:
    for made_by in (manifest, *(manifest.get(ADDED) or ())):
        for name in ("source", "members"):
            found = made_by.get(name)
            if isinstance(found, Mapping) and "sha256" in found:
                yield str(found["sha256"])


def _keep(path: Path, sha256: str, data_dir: Path) -> None:
    target = _place(sha256, data_dir)
    if target.exists():
        return
    target.parent.mkdir(mode=0o700, exist_ok=True)
    # Under a name of its own, since another process may be keeping the same.
    copy = target.with_name(f"{sha256}.{os.getpid()}-{secrets.token_hex(4)}.gz")
    copy_input(path, copy, sha256)
    copy.rename(target)


def _place(sha256: str, data_dir: Path) -> Path:
    return data_dir / KEPT_FOLDER / f"{sha256}.gz"
