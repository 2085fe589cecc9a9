import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from processing.budget import Budget
from processing.clusters.bought_vectors import BoughtVectors, Said, VectorError, read_vectors
from processing.config_file import parse
from processing.errors import BudgetError, TeacherError
from processing.model_client import ModelClient
from processing.teachers import Teachers
from store.clusters.cluster_store import ClusterStore
from tests.processing.clusters.embedding_server import EmbeddingServer, answer, serving_embeddings, vector

WORDS = [f"word{number} of text {number}" for number in range(300)]


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with serving_embeddings() as found:
        yield found


def said(texts: list[str]) -> list[Said]:
    return [Said(text, [UUID(int=number + 1)]) for number, text in enumerate(texts)]


@asynccontextmanager
async def buying(server: EmbeddingServer, folder: Path, **limits: Any) -> Any:
    price = {"input": 2.0, "output": 0.0}
    config = parse(
        {
            "base": {"task": "classification"},
            "models": {"e": {"base_url": server.base_url, "model": "em", "price": price}},
        },
        source="config",
    )
    async with await ClusterStore.open(folder / "work.db") as store, ModelClient(4, first_wait_s=0.01) as client:
        teachers = Teachers(client, store, config, {}, budget=Budget(**limits))
        yield BoughtVectors(teachers, store, "e"), teachers, store


async def test_every_text_is_bought_once_whatever_batch_it_comes_in(server: EmbeddingServer, tmp_path: Path) -> None:
    async with buying(server, tmp_path) as (bought, _, _):
        first, has = await bought.vectors(said(WORDS))
    assert all(has)
    assert np.allclose(first[7], np.array(vector(WORDS[7])) / 3, atol=1e-5)
    assert sorted(server.texts) == sorted(WORDS)
    assert {(body["model"], body["encoding_format"]) for body in server.requests} == {("em", "float")}
    async with buying(server, tmp_path, max_calls=1) as (bought, teachers, _):
        again, _ = await bought.vectors(said([*reversed(WORDS), "one more"]))
    assert server.texts[len(WORDS) :] == ["one more"]
    assert np.array_equal(again[:300][::-1], first)
    assert (teachers.counts.paid, teachers.counts.cached) == (1, 300)


async def test_two_builds_at_once_buy_each_text_once(server: EmbeddingServer, tmp_path: Path) -> None:
    async with buying(server, tmp_path) as (one, _, _), buying(server, tmp_path) as (other, _, _):
        found = await asyncio.gather(*(bought.vectors(said(WORDS)) for bought in (one, other)))
    assert np.array_equal(found[0][0], found[1][0])
    assert sorted(server.texts) == sorted(WORDS)


async def test_the_bill_is_in_the_call_table_without_a_text_or_a_vector(
    server: EmbeddingServer, tmp_path: Path
) -> None:
    async with buying(server, tmp_path) as (bought, teachers, store):
        await bought.vectors(said(["canary alone"]))
        (bill,) = teachers.bill().items()
        rows = await store._rows("SELECT request, reply, usage, cost, purpose FROM calls", {})
    assert bill[0] == "embed"
    assert (bill[1].calls, bill[1].prompt_tokens, bill[1].cost) == (1, 2, 4e-6)
    request, reply, usage, cost, _ = rows[0]
    assert json.loads(request) == {"encoding_format": "float", "model": "em", "inputs": 1}
    assert "data" not in json.loads(reply)
    assert json.loads(usage)["prompt_tokens"] == 2
    assert cost == 4e-6


async def test_batches_that_a_server_finds_too_large_are_halved_and_a_text_it_refuses_stands_alone(
    server: EmbeddingServer, tmp_path: Path
) -> None:
    def small(body: dict[str, Any]) -> tuple[int, Any]:
        if len(body["input"]) > 32:
            return 413, {"error": {"message": "batch size 32"}}
        if any("word5 " in text for text in body["input"]):
            return 400, {"error": {"message": "input too long"}}
        return answer(body)

    server.script = small
    async with buying(server, tmp_path) as (bought, _, _):
        found, has = await bought.vectors(said(WORDS))
    assert [WORDS[at] for at, there in enumerate(has) if not there] == ["word5 of text 5"]
    assert not found[5].any()
    too_large = [body for body in server.requests if len(body["input"]) > 32]
    assert len(too_large) <= 4


async def test_a_budget_stops_before_it_is_crossed_and_keeps_what_was_bought(
    server: EmbeddingServer, tmp_path: Path
) -> None:
    async with buying(server, tmp_path, max_calls=1) as (bought, _, store):
        with pytest.raises(BudgetError, match="budget of 1 calls"):
            await bought.vectors(said(WORDS))
        assert len(await store._rows("SELECT key FROM embeddings", {})) == 128


@pytest.mark.parametrize(
    "broken",
    [
        lambda data: data[1:],
        lambda data: [data[0], *data[:-1]],
        lambda data: [{**one, "embedding": None} for one in data],
        lambda data: [{**one, "embedding": [0.0, 0.0]} for one in data],
        lambda data: [{**one, "embedding": [float(at + 1)] * (at + 1)} for at, one in enumerate(data)],
        lambda data: [{**one, "embedding": ["1", "2"]} for one in data],
        lambda data: ["no object" for _ in data],
    ],
)
async def test_an_answer_that_is_no_list_of_vectors_is_never_used(
    server: EmbeddingServer, tmp_path: Path, broken: Any
) -> None:
    server.script = lambda body: (200, {"data": broken(answer(body)[1]["data"])})
    async with buying(server, tmp_path) as (bought, _, store):
        with pytest.raises(TeacherError, match="embedding model"):
            await bought.vectors(said(["a b", "c d", "e f"]))
        assert await store._rows("SELECT key FROM embeddings", {}) == []


async def test_another_model_under_the_same_name_is_noticed(server: EmbeddingServer, tmp_path: Path) -> None:
    async with buying(server, tmp_path) as (bought, _, _):
        await bought.vectors(said(["a b"]))
    server.script = lambda body: (200, {"data": [{"index": 0, "embedding": [1.0, 2.0]} for _ in body["input"]]})
    async with buying(server, tmp_path) as (bought, _, _):
        with pytest.raises(TeacherError, match="2 and 32 dimensions"):
            await bought.vectors(said(["a b", "c d"]))


def test_vectors_may_come_as_base64_and_without_index() -> None:
    packed = base64.b64encode(np.array([3.0, 4.0], dtype="<f4").tobytes()).decode()
    (found,) = read_vectors([{"embedding": packed}], 1)
    assert np.allclose(np.frombuffer(found, dtype="<f4"), [0.6, 0.8])
    with pytest.raises(VectorError):
        read_vectors([{"embedding": "no base64!"}], 1)
