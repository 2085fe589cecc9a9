"""Vectors from any server that speaks OpenAI's `/v1/embeddings`, each bought once.

A vector is kept by the server, the request without its texts, and the text: what was bought for one build is used by
every later one, in whatever batch it came. The call goes into the call table with its usage and cost, and without texts
or vectors: an erasure takes the vector, and leaves the bill.
"""

import base64
import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import numpy as np

from processing.answer import cost_of
from processing.clusters.offline_vectors import Vectors
from processing.endpoint import Endpoint
from processing.errors import TeacherError
from processing.http_reply import EMBEDDINGS, Completion
from processing.parallel import each
from processing.teachers import Teachers
from store import json_text
from store.call import Call, content_key
from store.clusters.cluster_store import ClusterStore
from store.recorded.message import Json

PURPOSE: Final = "embed"
BAD_VECTORS: Final = "bad_vectors"
"""The `error` of a call whose answer does not hold one vector for each text."""
_BATCH = 128
_MOST_DIMENSIONS = 8192
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Said:
    """A text, and the stored traces that say so."""

    text: str
    trace_ids: Sequence[UUID]


class VectorError(Exception):
    """An answer does not hold what was asked for; the text says what is wrong with it."""


class BoughtVectors:
    """Buys vectors of one model."""

    def __init__(self, teachers: Teachers, store: ClusterStore, model: str) -> None:
        """Ask nobody yet.

        Args:
            teachers: Knows the model, and what may be bought.
            store: The same working memory that the teachers use.
            model: Name in the configuration.
        """
        self._teachers = teachers
        self._store = store
        question = teachers.question(model, [])
        self._where: Endpoint = question.where
        self._fields = {name: value for name, value in question.body.items() if name != "messages"}
        self._fields = {"encoding_format": "float", **self._fields}
        self._size = _BATCH

    @property
    def identity(self) -> str:
        """What tells these vectors from those of other models."""
        return self._teachers.identity(self._where.name)

    async def vectors(
        self, said: Sequence[Said], done: Callable[[int], None] = lambda _: None
    ) -> tuple[Vectors, list[bool]]:
        """Give a vector of length 1 for each text, and whether there is one: a text that the model refuses has none.

        Args:
            said: Different texts.
            done: Told how many have their vector.

        Raises:
            TeacherError: The server cannot be used.
            BudgetError: Nothing more may be bought.
        """
        keys = [content_key(self._where.shown_url, self._fields, one.text) for one in said]
        await self._store.add_vector_sources({key: one.trace_ids for key, one in zip(keys, said, strict=True)})
        known = set(await self._store.vectors(keys))
        missing = {key: one.text for key, one in zip(keys, said, strict=True) if key not in known}
        self._teachers.counts.cached += len(known)
        await self._buy_all(list(missing.items()), lambda bought: done(len(keys) - len(missing) + bought))
        return self._read(keys, await self._store.vectors(keys))

    async def _buy_all(self, wanted: list[tuple[bytes, str]], done: Callable[[int], None]) -> None:
        bought = 0
        # The first batch alone tells how large one may be.
        size = min(self._size, len(wanted))
        if size:
            bought = await self._buy_split(wanted[:size])
            done(bought)

        async def buy(batch: Sequence[tuple[bytes, str]]) -> None:
            nonlocal bought
            bought += await self._buy_split(batch)
            done(bought)

        rest = [wanted[at : at + self._size] for at in range(size, len(wanted), self._size)]
        await each(rest, buy, parallel=_AT_ONCE)

    async def _buy_split(self, batch: Sequence[tuple[bytes, str]]) -> int:
        """Buy a batch, in halves where the server calls it wrong: too many texts, or one that is too long."""
        call = await self._buy(batch)
        if call.error is None:
            return len(batch)
        if call.error == BAD_VECTORS:
            problem = json_text.loads(call.reply or b"{}").get("error")
            raise TeacherError(
                self._where.name, self._where.shown_url, "failing", f"{problem}. Is it an embedding model?"
            )
        if len(batch) == 1 or call.error == "failing":
            return 0
        half = (len(batch) + 1) // 2
        self._size = min(self._size, half)
        return await self._buy_split(batch[:half]) + await self._buy_split(batch[half:])

    async def _buy(self, batch: Sequence[tuple[bytes, str]]) -> Call:
        key = content_key(self._where.shown_url, self._fields, [key.hex() for key, _ in batch])
        async with self._store.asking(key):
            # Another build may have bought it meanwhile.
            call = await self._store.call(key)
            if call is not None and len(await self._store.vectors([key for key, _ in batch])) == len(batch):
                self._teachers.counts.cached += len(batch)
                return call
            return await self._buy_anew(key, batch)

    async def _buy_anew(self, key: bytes, batch: Sequence[tuple[bytes, str]]) -> Call:
        body = {**self._fields, "input": [text for _, text in batch]}
        vectors: dict[bytes, bytes] = {}

        def record(completion: Completion) -> Call:
            call = _call(self._where, key, self._fields, len(batch), completion)
            if completion.body is None:
                return call
            try:
                found = read_vectors(completion.body["data"], len(batch))
            except VectorError as exc:
                return replace(call, error=BAD_VECTORS, reply=json_text.dumps({"error": str(exc)}))
            vectors.update((key, vector) for (key, _), vector in zip(batch, found, strict=True))
            return call

        async def keep(completion: Completion, call: Call) -> None:
            # What was refused is asked again in another batch, and next time: another model may stand there by then.
            if call.error is None or completion.body is not None:
                await self._store.add_vectors(vectors, call)

        return await self._teachers.buy(self._where, body, record, keep, service=EMBEDDINGS)

    def _read(self, keys: Sequence[bytes], found: Mapping[bytes, bytes]) -> tuple[Vectors, list[bool]]:
        sizes = {len(vector) for vector in found.values()}
        if len(sizes) > 1:
            shown = " and ".join(str(size // 4) for size in sorted(sizes))
            problem = (
                f"its vectors have {shown} dimensions: another model answers by the same name. Give it a new name."
            )
            raise TeacherError(self._where.name, self._where.shown_url, "failing", problem)
        if keys and not sizes:
            problem = "it gave no vector for any text. Is it an embedding model?"
            raise TeacherError(self._where.name, self._where.shown_url, "rejecting", problem)
        vectors = np.zeros((len(keys), sizes.pop() // 4 if sizes else 1), dtype=np.float32)
        for at, key in enumerate(keys):
            if key in found:
                vectors[at] = np.frombuffer(found[key], dtype="<f4")
        return vectors, [key in found for key in keys]


def read_vectors(data: Json, count: int) -> list[bytes]:
    """Read the `data` of an answer: one vector of length 1 for each text, as float32 in little endian.

    Raises:
        VectorError: One is missing, is none, or has another number of dimensions.
    """
    found: dict[int, Any] = {}
    for at, entry in enumerate(data):
        index = entry.get("index", at) if isinstance(entry, dict) else None
        if isinstance(index, bool) or not isinstance(index, int) or index in found or not 0 <= index < count:
            raise VectorError("an entry of the answer belongs to no text")
        found[index] = entry.get("embedding")
    if len(found) != count:
        raise VectorError(f"the answer holds {len(found)} vectors for {count} texts")
    vectors = [_vector(found[index]) for index in range(count)]
    if len({len(vector) for vector in vectors}) > 1:
        raise VectorError("the vectors of one answer differ in their dimensions")
    return vectors


def _vector(value: Json) -> bytes:
    try:
        if isinstance(value, str):
            numbers = np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
        elif isinstance(value, list) and not any(isinstance(number, bool | str) for number in value):
            numbers = np.array(value, dtype=np.float64)
        else:
            raise VectorError("an entry of the answer holds no vector")
    except (ValueError, TypeError, OverflowError, binascii.Error) as exc:
        raise VectorError("an entry of the answer holds no vector") from exc
    length = float(np.linalg.norm(numbers.astype(np.float64))) if numbers.ndim == 1 else 0.0
    if not 0 < numbers.size <= _MOST_DIMENSIONS or not math.isfinite(length) or length == 0:
        raise VectorError("an entry of the answer holds no vector that has a direction")
    return (numbers / length).astype("<f4").tobytes()


def _call(where: Endpoint, key: bytes, fields: Mapping[str, Json], count: int, completion: Completion) -> Call:
    usage = completion.body.get("usage") if completion.body else None
    usage = usage if isinstance(usage, dict) else None
    told = {name: value for name, value in (completion.body or {}).items() if name != "data"}
    return Call(
        key=key,
        purpose=PURPOSE,
        model=where.name,
        base_url=where.shown_url,
        request=json_text.dumps({**fields, "inputs": count}),
        reply=json_text.dumps(told if completion.body is not None else {"error": completion.detail}),
        usage=None if usage is None else json_text.dumps(usage),
        # Nothing is written by such a model.
        cost=cost_of(where, None if usage is None else {"completion_tokens": 0, **usage}),
        attempts=completion.attempts,
        error=completion.fault,
    )
