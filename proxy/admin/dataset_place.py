"""The way from a request to the version of a dataset that it names."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from proxy.admin.change_requests import new_change
from proxy.admin.context import Context
from proxy.admin.operation import Asked
from proxy.admin.refusal import AdminRefusal, Code
from store import json_text
from store.change import ChangeKind
from store.data_files import WORK_FILE
from store.datasets.evaluation_store import EvaluationStore
from store.datasets.version import Version, label, read_reference
from store.datasets.version_table import Wanted
from store.errors import DatabaseMissingError, DatasetError

NAME = ("name", "Name of the dataset.")
NUMBER = (
    "number",
    "Number of the version, from 1; or `newest`, `frozen`, `active` for the newest, the newest frozen, the open one.",
)
_BY_STATE: Final[Mapping[str, Wanted]] = {"newest": "any", "frozen": "frozen", "active": "active"}
ROW_ID = ("row_id", "Id of the row; a slash in it is sent as `%2F`.")
VERSION_PATH = "/admin/api/datasets/{name}/versions/{number}"


@contextmanager
def refusing(code: Code) -> Iterator[None]:
    """Answer an error of the datasets in this block with a code."""
    try:
        yield
    except DatasetError as exc:
        raise AdminRefusal(code, _sentence(str(exc))) from exc


def _sentence(text: str) -> str:
    """Begin with a capital letter, but where the text begins with the name of a dataset or version."""
    first, _, rest = text.partition(" ")
    is_word = first.isalpha() and not rest.startswith("has ")
    return f"{text[:1].upper()}{text[1:]}" if is_word else text


@asynccontextmanager
async def reading(context: Context) -> AsyncIterator[EvaluationStore]:
    """Open `work.db` to read.

    Raises:
        AdminRefusal: There is none, so nothing that is named can be there.
    """
    try:
        store = await EvaluationStore.open_to_read(context.data_dir / WORK_FILE)
    except DatabaseMissingError as exc:
        raise AdminRefusal(Code.NOT_FOUND, "There are no datasets yet.") from exc
    async with store:
        yield store


@asynccontextmanager
async def writing(context: Context) -> AsyncIterator[EvaluationStore]:
    """Open `work.db` to write; raises as `reading`, and where the server changes nothing."""
    context.changes.refuse_if_off()
    async with reading(context):
        pass
    async with await EvaluationStore.open(context.data_dir / WORK_FILE) as store:
        yield store


async def find_version(store: EvaluationStore, asked: Asked, *, number: str = "number") -> Version:
    """Find the version that the path names.

    Args:
        store: Where it is.
        asked: The request.
        number: Which part of the path holds its number.

    Raises:
        AdminRefusal: There is none.
    """
    given = asked.path(number)
    if given in _BY_STATE:
        with refusing(Code.NOT_FOUND):
            return await store.version(dataset_name(asked), wants=_BY_STATE[given])
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise AdminRefusal(Code.NOT_FOUND, f"{given[:40]!r} is no number of a version.")
    with refusing(Code.NOT_FOUND):
        return await store.version(label(dataset_name(asked), int(given)))


def dataset_name(asked: Asked) -> str:
    """Give the name of the dataset in the path.

    Raises:
        AdminRefusal: None can be called so.
    """
    with refusing(Code.NOT_FOUND):
        named = read_reference(asked.path("name"))
    if named.number is not None:
        raise AdminRefusal(Code.NOT_FOUND, f"{asked.path('name')!r} names a version; its path has the number apart.")
    return named.dataset


async def note(context: Context, asked: Asked, **done: object) -> None:
    """Write into the audit log what is about to be done; it is on the disk when this returns."""
    await context.changes.note(new_change(ChangeKind.DATASET, json_text.dumps(done), asked.who))
