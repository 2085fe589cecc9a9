"""What a path holds: one data file, a folder of them as a hub has it, or a folder of `Dataset.save_to_disk`.

Which file belongs to which split is read from the folder's own description where it has one, the `configs` at the head
of its README.md or `dataset_dict.json`, and else told by the names of files and folders.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

import yaml

from processing.datasets.data_file import DataFile, Kind
from processing.datasets.record import Record
from processing.errors import InputError
from processing.plain_value import read_json
from store.recorded.message import Json

_KINDS: Final = {
    ".jsonl": Kind.JSONL,
    ".ndjson": Kind.JSONL,
    ".json": Kind.JSONL,
    ".csv": Kind.CSV,
    ".tsv": Kind.TSV,
    ".parquet": Kind.PARQUET,
    ".arrow": Kind.ARROW,
}
_PACKED: Final = frozenset({".gz", ".zst"})
_ABOUT_DATA: Final = frozenset({"dataset_info.json", "dataset_dict.json", "dataset_infos.json", "state.json"})
_SPLIT_NAME: Final = re.compile(r"(?:^|[^a-z])(train|test|validation|valid|val|dev|eval)(?:ing)?(?:[^a-z]|$)")


class Format(StrEnum):
    """What can be asked for."""

    AUTO = "auto"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    HF = "hf"


@dataclass(frozen=True, slots=True)
class DataSet:
    """The files to read, in order.

    Attributes:
        name: What to call it.
        format: What it is; never `auto`.
        files: At least one.
        left_out: Data files of the folder that belong to no split, while others do.
    """

    name: str
    format: Format
    files: tuple[DataFile, ...]
    left_out: tuple[str, ...] = ()

    def records(self) -> Iterator[Record]:
        """Read all files from their beginning.

        Raises:
            InputError: One cannot be read at all.
        """
        for file in self.files:
            yield from file.records()

    def digests(self) -> list[dict[str, Json]]:
        """Name, size and SHA-256 of each file, for the manifest."""
        return [_digest(file) for file in self.files]


def find_data(
    path: Path, wanted: Format = Format.AUTO, *, subset: str | None = None, has_header: bool | None = None
) -> DataSet:
    """Find out what there is to read.

    Args:
        path: A file or a folder.
        wanted: What it is; `auto` to tell by its name.
        subset: Of a folder that describes several configurations, the one to read.
        has_header: Whether the first record of a CSV file names the columns; None to tell by looking.

    Raises:
        InputError: There is nothing that can be read, or more than one thing.
    """
    if path.is_dir():
        if wanted not in (Format.AUTO, Format.HF):
            raise InputError(str(path), f"is a folder, and --format {wanted} takes a file.")
        found = _saved(path) or _described(path, subset)
        named = [] if found else _named(path)
        files = found or [file for file in named if file.split is not None] or named
        if not files:
            raise InputError(str(path), f"holds no data files ({', '.join(_KINDS)}).")
        headed = tuple(replace(file, has_header=has_header) for file in files)
        left_out = tuple(file.name for file in named if file not in files)
        return DataSet(path.resolve().name, Format.HF, headed, left_out)
    if not path.is_file():
        is_other = path.exists()
        problem = "is a pipe or a device, and it is read more than once: write it to a file first"
        raise InputError(str(path), f"{problem}." if is_other else "is not there. Give a file or a folder.")
    if wanted is Format.HF:
        raise InputError(str(path), "is a file, and --format hf takes a folder.")
    kind = _kind(path) if wanted is Format.AUTO else Kind(wanted.value)
    if kind is None:
        names = ", ".join(_KINDS)
        raise InputError(str(path), f"has none of the known endings ({names}, maybe with .gz or .zst). Give --format.")
    told = Format.HF if kind is Kind.ARROW else Format(kind.value)
    return DataSet(path.name, told, (DataFile(path, path.name, kind, None, has_header),))


def _kind(path: Path) -> Kind | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return _KINDS.get(suffixes[-1]) if suffixes else None


def _saved(folder: Path) -> list[DataFile]:
    """The files of `save_to_disk`: one table, or a folder for each split."""
    if (folder / "dataset_dict.json").is_file():
        splits = _field(read_json(folder / "dataset_dict.json"), "splits")
        if not isinstance(splits, list) or not all(isinstance(name, str) and _is_bare(name) for name in splits):
            raise InputError(f"{folder.name}/dataset_dict.json", "does not name its splits.")
        return [file for name in splits for file in _table(folder, folder / name, name)]
    return _table(folder, folder, None) if (folder / "state.json").is_file() else []


def _table(root: Path, folder: Path, split: str | None) -> list[DataFile]:
    name = (folder.relative_to(root) / "state.json").as_posix()
    state = read_json(folder / "state.json")
    if _field(state, "_indices_data_files"):
        raise InputError(name, "names rows by an index, as old versions of `datasets` did. Load it and save it again.")
    listed = _field(state, "_data_files")
    names = [_field(entry, "filename") for entry in listed] if isinstance(listed, list) else []
    if not all(isinstance(each, str) and _is_bare(each) for each in names):
        raise InputError(name, "names a file outside of its folder.")
    return [DataFile(folder / each, (folder.relative_to(root) / each).as_posix(), Kind.ARROW, split) for each in names]


def _described(folder: Path, subset: str | None) -> list[DataFile]:
    """The files that the head of README.md names for a configuration; none where it names none."""
    configs = _configs(folder)
    names = [str(config.get("config_name", "default")) for config in configs]
    if subset is not None and subset not in names:
        raise InputError(str(folder), f'has no subset "{subset}"; there are: {", ".join(names) or "none"}.')
    if not configs:
        return []
    chosen = [c for c, name in zip(configs, names, strict=True) if name == subset] if subset else []
    chosen = chosen or [c for c, name in zip(configs, names, strict=True) if c.get("default") or name == "default"]
    chosen = chosen or configs
    if len(chosen) > 1:
        raise InputError(str(folder), f"has several subsets: {', '.join(names)}. Name one by --subset.")
    return _data_files(folder, chosen[0].get("data_files"))


def _data_files(folder: Path, listed: Json) -> list[DataFile]:
    entries = listed if isinstance(listed, list) else [listed]
    files: list[DataFile] = []
    for entry in entries:
        is_split = isinstance(entry, Mapping)
        paths = entry.get("path") if is_split else entry
        split = str(entry["split"]) if is_split and entry.get("split") is not None else None
        for pattern in paths if isinstance(paths, list) else [paths]:
            if isinstance(pattern, str):
                files += [_file(folder, path, split) for path in _glob(folder, pattern)]
    return files


def _glob(folder: Path, pattern: str) -> list[Path]:
    if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
        raise InputError(f"{folder.name}/README.md", f'names "{pattern}", which is outside of the folder.')
    found = sorted(path for path in folder.glob(pattern) if _is_data(path) and path.is_file())
    if not found:
        raise InputError(f"{folder.name}/README.md", f'names "{pattern}", and there is no such data file.')
    return found


def _named(folder: Path) -> list[DataFile]:
    """All data files of the folder, two levels of folders deep, by name; as a hub has them without a description."""
    depths = (folder.glob(pattern) for pattern in ("*", "*/*", "*/*/*"))
    # Names first: of files that are no data nothing is asked, not even whether they are files.
    found = sorted(path for paths in depths for path in paths if _is_data(path) and path.is_file())
    return [_file(folder, path, None) for path in found]


def _file(folder: Path, path: Path, split: str | None) -> DataFile:
    name = path.relative_to(folder).as_posix()
    kind = _kind(path)
    if kind is None:
        raise InputError(name, "is no data file.")
    return DataFile(path, name, kind, split or _split_of(name))


def _split_of(name: str) -> str | None:
    """The split that a file's name tells, or else its folder's."""
    for part in reversed(PurePosixPath(name.lower()).parts):
        found = _SPLIT_NAME.findall(part.partition(".")[0])
        if found:
            return str(found[-1])
    return None


def _is_data(path: Path) -> bool:
    return _kind(path) is not None and path.name not in _ABOUT_DATA and not path.name.startswith(".")


def _configs(folder: Path) -> list[Mapping[str, Json]]:
    """The configurations at the head of README.md that name files."""
    try:
        text = (folder / "README.md").read_text("utf-8-sig")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{folder.name}/README.md", "cannot be read as text.") from exc
    head = re.match(r"---\s*\n(.*?)\n---\s*(?:\n|$)", text, re.DOTALL)
    if head is None or "configs" not in head[1]:
        return []
    try:
        value = yaml.safe_load(head[1])
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise InputError(f"{folder.name}/README.md", "has a head that is not YAML.") from exc
    configs = _field(value, "configs")
    named = configs if isinstance(configs, list) else []
    return [config for config in named if isinstance(config, Mapping) and config.get("data_files")]


def _field(value: Json, name: str) -> Json:
    return value.get(name) if isinstance(value, Mapping) else None


def _is_bare(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name and "\\" not in name


def _digest(file: DataFile) -> dict[str, Json]:
    try:
        with file.path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            size = opened.tell()
    except OSError as exc:
        raise InputError(file.name, f"cannot be read: {exc.strerror}.") from exc
    return {"name": file.name, "bytes": size, "sha256": digest}
