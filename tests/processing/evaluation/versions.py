"""Frozen versions to evaluate on, and models of known quality to evaluate."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from processing.budget import Budget
from processing.config_file import parse
from processing.datasets.row_form import messages_of, row_of
from processing.evaluation.evaluate import Evaluated, Wanted, evaluate
from processing.model_client import ModelClient
from processing.teachers import Teachers
from store.datasets.evaluation_store import EvaluationStore
from store.datasets.row import Part, Row, RowEnd, RowState
from store.datasets.version import Birth, Version
from tests.processing.teachers import Body, last_user
from tests.processing.teachers import Teachers as Server

LABELS = ("billing", "technical", "other")
PRICE = {"input": 100.0, "output": 200.0}
"""Of the scripted server's 10 and 5 tokens: 0.002 an answer."""


def label_row(number: int, **metadata: Any) -> dict[str, Any]:
    """A question with a label, in conversations of two questions each."""
    known = {"conversation_id": f"c{number // 2}", **metadata}
    return row_of(messages_of(f"question {number}?", LABELS[number % 3]), metadata=known)


def text_row(number: int, **metadata: Any) -> dict[str, Any]:
    known = {"conversation_id": f"c{number}", **metadata}
    return row_of(messages_of(f"question {number}?", f"the long answer to question number {number}"), metadata=known)


async def frozen(
    store: EvaluationStore,
    contents: Sequence[Mapping[str, Any]],
    name: str = "support",
    *,
    part: Callable[[int], Part | None] = lambda _: Part.TEST,
    manifest: Mapping[str, Any] | None = None,
    freeze: bool = True,
) -> Version:
    end = RowEnd(RowState.KEPT, "upload", "uploaded")
    async with store.birth(name, birth=Birth.UPLOAD, manifest=dict(manifest or {}), freeze=freeze) as born:
        await born.add_rows([Row(content, part(number), end) for number, content in enumerate(contents)])
    assert born.version is not None
    return born.version


def right_in(share: float, right: Callable[[Body], str]) -> Callable[[Body], Body]:
    """A model that is right on about such a share of the questions, always on the same ones."""

    def reply(body: Body) -> Body:
        told = f"{body['model']} {last_user(body)}"
        dice = int.from_bytes(hashlib.blake2b(told.encode(), digest_size=4).digest()) / 2**32
        return {"content": right(body) if dice < share else "something else entirely"}

    return reply


def label_for(body: Body) -> str:
    return LABELS[int(last_user(body).split()[1].rstrip("?")) % 3]


def text_for(body: Body) -> str:
    return f"the long answer to question number {last_user(body).split()[1].rstrip('?')}"


async def run(
    store: EvaluationStore,
    server: Server,
    wanted: Wanted,
    *,
    models: Mapping[str, Any] | None = None,
    budget: Budget | None = None,
    parallel: int = 8,
    **sections: Any,
) -> Evaluated:
    raw = {
        "base": {"task": "chat-completion", "llm_num_parallel_requests": parallel},
        "models": {name: {"price": PRICE} for name in wanted.models} if models is None else models,
        **sections,
    }
    config = parse(json.loads(json.dumps(raw)), source="config.yaml")
    environ = {"TRACEMILL_TEACHER_BASE_URL": server.base_url}
    async with ModelClient(parallel, first_wait_s=0.01, sleep=_at_once) as client:
        return await evaluate(wanted, store, Teachers(client, store, config, environ, budget=budget))


async def _at_once(_seconds: float) -> None:
    """Wait no time at all."""


async def opened(folder: Path) -> EvaluationStore:
    return await EvaluationStore.open(folder / "work.db")
