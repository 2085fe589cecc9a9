"""Finding the file again that a version was made of: by its hash among those that somebody names, or as kept."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from processing.datasets.data_set import Format, find_data
from processing.datasets.kept_source import kept_copy
from processing.errors import InputError
from store.recorded.message import Json


def named_data(manifest: Mapping[str, Json], files: Sequence[Path], label: str) -> Path:
    """Find the data that were uploaded.

    Args:
        manifest: Of the upload.
        files: Files or folders that somebody names.
        label: Of the version.

    Raises:
        InputError: None of them is it; the message names it.
    """
    source, subset = manifest["source"], (manifest.get("read_as") or {}).get("subset")
    wanted = {one["sha256"] for one in source["files"]}
    for file in files:
        if {one["sha256"] for one in find_data(file, Format(source["format"]), subset=subset).digests()} == wanted:
            return file
    named = ", ".join(f"{one['name']} (SHA-256 {one['sha256']})" for one in source["files"])
    raise _missing(files, label, f"was uploaded, and of the file its hash alone is kept. Name it by --from: {named}.")


@contextmanager
def named_prompts(source: Mapping[str, Json], files: Sequence[Path], data_dir: Path, label: str) -> Iterator[Path]:
    """Find the prompts that a version was generated from, under the name that they had, until the block ends.

    Args:
        source: As the manifest names it.
        files: Files that somebody names.
        data_dir: Where copies are kept.
        label: Of the version.

    Raises:
        InputError: None of them is it, and no copy is kept; the message names it.
    """
    named = next((file for file in files if _sha256(file) == source["sha256"]), None)
    if named is not None:
        with TemporaryDirectory(prefix="tracemill-") as folder:
            # Its name tells how it is read.
            path = Path(folder) / Path(source["name"]).name
            path.symlink_to(named.resolve())
            yield path
        return
    with kept_copy(source["sha256"], source["name"], data_dir) as copy:
        if copy is None:
            why = f" ({source['not_kept']})" if "not_kept" in source else ""
            name = f"{source['name']} (SHA-256 {source['sha256']})"
            raise _missing(
                files, label, f"was generated from prompts of which no copy is there{why}. Name them by --from: {name}."
            )
        yield copy


def _missing(files: Sequence[Path], label: str, problem: str) -> InputError:
    if files:
        return InputError(", ".join(map(str, files)), f"is not what {label} was made of: its SHA-256 is another.")
    return InputError(label, problem)


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise InputError(str(path), f"cannot be read: {exc.strerror or exc}.") from exc
