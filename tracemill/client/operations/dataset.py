"""Datasets: versions and their rows, freezing, and what goes in and out."""

import json
from collections.abc import Iterable
from typing import BinaryIO, Literal

from proxy.admin.shapes.dataset import (
    Dataset,
    DatasetList,
    DecisionList,
    Row,
    RowDecision,
    RowPage,
    Version,
    VersionDiff,
    VersionList,
    WholeRow,
    WholeVersion,
)
from proxy.admin.shapes.job import Job
from tracemill.client.blocks import in_blocks
from tracemill.client.call import API, BYTES, PAGE, Asked, Blocks, Call, Page, Pages, as_shape
from tracemill.client.call import part as as_part
from tracemill.client.reference import Reference, version_path

State = Literal["kept", "dropped", "failed", "review"]
Part = Literal["train", "test", "unstructured"]


def datasets() -> Call[list[Dataset]]:
    """Give all datasets by name."""
    read = as_shape(DatasetList)
    return Call(Asked("list_datasets", "GET", f"{API}/datasets"), lambda body: read(body).data)


def dataset(name: str) -> Call[Dataset]:
    """Tell which versions a dataset has.

    Args:
        name: Its name.
    """
    return Call(Asked("get_dataset", "GET", f"{API}/datasets/{as_part(name)}"), as_shape(Dataset))


def versions(name: str) -> Call[list[Version]]:
    """Give the versions of a dataset by number.

    Args:
        name: Its name.
    """
    read = as_shape(VersionList)
    return Call(Asked("list_versions", "GET", f"{API}/datasets/{as_part(name)}/versions"), lambda body: read(body).data)


def version(reference: Reference) -> Call[WholeVersion]:
    """Give a version with what made it and what there is to warn of.

    Args:
        reference: `NAME-v3`, or `NAME` for the newest.
    """
    return Call(Asked("get_version", "GET", version_path(reference)), as_shape(WholeVersion))


def row_page(
    reference: Reference,
    *,
    state: State | None = None,
    part: Part | None = None,
    cursor: str | None = None,
    limit: int | None = None,
) -> Call[RowPage]:
    """Give one page of the rows of a version, by their ids.

    Args:
        reference: `NAME-v3`, or `NAME` for the newest.
        state: Only rows that ended so.
        part: Only rows of this part.
        cursor: `next_cursor` of the page before; None for the first.
        limit: Most rows of the page, up to 500; None for 50.
    """
    query = {"state": state, "part": part, "cursor": cursor, "limit": limit}
    return Call(Asked("list_rows", "GET", f"{version_path(reference)}/rows", query), as_shape(RowPage))


def rows(reference: Reference, *, state: State | None = None, part: Part | None = None) -> Pages[Row]:
    """Give all rows of a version by their ids, page by page as they are taken.

    Args:
        reference: `NAME-v3`, or `NAME` for the newest.
        state: Only rows that ended so.
        part: Only rows of this part.
    """

    def at(cursor: str | None) -> Call[Page[Row]]:
        found = row_page(reference, state=state, part=part, cursor=cursor, limit=PAGE)
        return Call(found.asked, found.read)

    return Pages(at)


def row(reference: Reference, row_id: str) -> Call[WholeRow]:
    """Give one row with the traces that it was made from and what people decided about it.

    Args:
        reference: `NAME-v3`, or `NAME` for the newest.
        row_id: The row's id.
    """
    return Call(Asked("get_row", "GET", f"{version_path(reference)}/rows/{as_part(row_id)}"), as_shape(WholeRow))


def freeze(reference: Reference, *, note: str | None = None) -> Call[WholeVersion]:
    """Freeze a version: from then on it never changes. One that is frozen stays as it is.

    Args:
        reference: `NAME-v3`, or `NAME` for the one that is open.
        note: A few words that lists show.
    """
    body = json.dumps({} if note is None else {"note": note}).encode()
    path = f"{version_path(reference, 'active')}/freeze"
    return Call(Asked("freeze_version", "POST", path, body=body), as_shape(WholeVersion))


def discard(reference: Reference) -> Call[Version]:
    """Delete an active version with its rows; what people decided about them is kept.

    Args:
        reference: `NAME-v3`, or `NAME` for the one that is open.
    """
    path = f"{version_path(reference, 'active')}/discard"
    return Call(Asked("discard_version", "POST", path), as_shape(Version))


def diff(first: Reference, second: int, *, limit: int | None = None) -> Call[VersionDiff]:
    """Tell how the kept rows of two versions of a dataset differ.

    Args:
        first: `NAME-v3`, the earlier one.
        second: Number of the later one.
        limit: Most ids in each list, up to 500; None for 50. `counts` tells how many there are.
    """
    path = f"{version_path(first)}/diff/{second}"
    return Call(Asked("diff_versions", "GET", path, {"limit": limit}), as_shape(VersionDiff))


def export_version(
    reference: Reference,
    *,
    format: str = "rows",  # noqa: A002
    part: Part | None = None,
    without_erased: bool = False,
) -> Blocks:
    """Give a version as the bytes of a file, or of a tar archive when all parts are wanted, as they come.

    Args:
        reference: `NAME-v3`, or `NAME` for the newest frozen one.
        format: As docs/exports.md names it, such as `openai`.
        part: Only this part, as a single file.
        without_erased: A version of which rows were erased, too.
    """
    query = {"format": format, "part": part, "without_erased": without_erased}
    return Blocks(Asked("export_version", "GET", f"{version_path(reference, 'frozen')}/export", query))


def upload_rows(
    name: str,
    lines: bytes | BinaryIO | Iterable[bytes],
    *,
    file: str = "rows.jsonl",
    format: str = "auto",  # noqa: A002
    map: str | None = None,  # noqa: A002
    part: Part | None = None,
    test_fraction: float | None = None,
    add: bool = False,
    strict: bool = False,
    note: str | None = None,
    id: str | None = None,  # noqa: A002
) -> Call[Job]:
    """Have rows of a file become a version of a dataset; the job does it.

    Args:
        name: Of the dataset; `NAME-v1` insists that the next version is the first.
        lines: The file's bytes, whole, as a file opened for reading bytes, or in blocks; it may be of any size.
        file: What it is called; the ending tells what it is.
        format: What it is, where its name does not tell.
        map: Which column is what, `prompt=question,response=answer`; the rest is guessed.
        part: Put all rows there.
        test_fraction: Share that goes to test.
        add: Add to the active version, or to the rows of the newest frozen one.
        strict: A record that cannot be a row is an error.
        note: A few words that lists show.
        id: A UUIDv7 of the job: asked again under the same id, it is filed once.
    """
    query = {
        "file": file,
        "format": format,
        "map": map,
        "part": part,
        "test_fraction": None if test_fraction is None else str(test_fraction),
        "add": add,
        "strict": strict,
        "note": note,
        "id": id,
    }
    body = lines if isinstance(lines, bytes) else in_blocks(lines)
    path = f"{API}/datasets/{as_part(name)}/upload"
    return Call(Asked("upload_dataset", "POST", path, query, body, BYTES), as_shape(Job))


def decisions(name: str) -> Call[list[RowDecision]]:
    """Give all decisions about rows of a dataset, in the order they were made.

    Args:
        name: Of the dataset.
    """
    read = as_shape(DecisionList)
    path = f"{API}/datasets/{as_part(name)}/decisions"
    return Call(Asked("list_decisions", "GET", path), lambda body: read(body).data)
