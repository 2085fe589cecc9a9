"""Jobs of the kind `upload`: files become versions."""

import shutil
import tarfile
import zlib
from itertools import islice
from pathlib import Path

from processing.datasets.data_set import Format, find_data
from processing.datasets.mapping import SAMPLE_RECORDS, guess_mapping, read_map
from processing.datasets.row_split import split_rows
from processing.datasets.upload import UploadSettings, upload
from processing.errors import InputError
from processing.progress import StageProgress
from store.datasets.row import Part
from store.datasets.version import Version
from tracemill.job_kinds.attempt import Asked, Attempt, Done, KindOfWork, about
from tracemill.job_kinds.job_datasets import JobDatasets, open_datasets


def _check_upload(asked: Asked) -> None:
    request = asked.request
    asked.check_birth(add=request["add"])
    with about("map"):
        told = read_map(request["map"])
    with about("file"):
        data = find_data(_source(asked), Format(request["format"]))
        sample = [record.value for record in islice(data.records(), SAMPLE_RECORDS) if record.value is not None]
        guess_mapping(sample, told, data.name)


async def _run_upload(attempt: Attempt) -> Done:
    request = attempt.request
    async with open_datasets(attempt) as store:
        made = await store.version_made(request["dataset"])
        if made is not None:
            return Done({"version": (await _shared_out(made, store, request["test_fraction"])).label})
        settings = UploadSettings(
            told=read_map(request["map"]),
            format=Format(request["format"]),
            part=None if request["part"] is None else Part(request["part"]),
            strict=request["strict"],
            test_fraction=request["test_fraction"],
        )
        report = await upload(
            _source(attempt),
            request["dataset"],
            store,
            settings,
            add=request["add"],
            note=request["note"],
            done=lambda count: attempt.progress(StageProgress("upload", count, count)),
        )
    return Done({**report.as_json(), "source": request["file"]}, report.warnings)


async def _shared_out(version: Version, store: JobDatasets, test_fraction: float | None) -> Version:
    if test_fraction is None or version.is_frozen:
        return version
    return (await split_rows(store, version.label, test_fraction=test_fraction)).version


def _source(asked: Asked) -> Path:
    """Give what was uploaded; a folder that came as one archive is unpacked first.

    Raises:
        InputError: The archive cannot be read, or holds what does not belong into a folder.
    """
    path = asked.folder.uploaded / str(asked.request["file"])
    if path.suffix != ".tar":
        return path
    folder = asked.folder.unpacked
    if not folder.is_dir():
        unpacking = folder.with_name(f".{folder.name}")
        shutil.rmtree(unpacking, ignore_errors=True)
        unpacking.mkdir(mode=0o700)
        try:
            with tarfile.open(path) as archive:
                # Nothing outside the folder, no links out of it, no devices.
                archive.extractall(unpacking, filter="data")
        except tarfile.FilterError as exc:
            raise InputError(path.name, f"holds {exc.tarinfo.name!r}, which has no place in a folder of data.") from exc
        except (tarfile.TarError, EOFError, zlib.error) as exc:
            raise InputError(path.name, "is no tar archive that can be read.") from exc
        except OSError as exc:
            raise InputError(path.name, f"cannot be unpacked: {exc.strerror or exc}.") from exc
        unpacking.rename(folder)
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


UPLOAD = KindOfWork(_check_upload, _run_upload)
