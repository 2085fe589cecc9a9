"""The page about datasets this product was asked for with: its snippets of Python, as they stand but for the import."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processing.teachers import Teachers, all_fives, last_user, serving
from tests.server import Server
from tracemill import Client

UPLOAD = """
d = Distiller(base_url="http://localhost:8000")
dataset = d.upload_dataset(
    name="invoice-extraction-v1",
    path="./data/invoices.jsonl",
    # jsonl rows: {"prompt": "...", "response": "...", "metadata": {...}}
)
"""
GENERATE = """
d.generate_dataset(
    name="python-docstrings-v1",
    prompts_path="./data/prompt_seeds.txt",
    teacher="openai/gpt-4o",
    n_samples=4,
    judge="openai/gpt-4o-mini",
)
"""


@pytest.fixture
def teachers() -> Iterator[Teachers]:
    with serving() as found:
        drawn = iter(range(10_000))
        found.reply = lambda body: {"content": f"Docstring {next(drawn) * 7919} of {last_user(body)}"}
        found.judge_row = all_fives
        yield found


def test_the_snippets_of_the_page_run_as_they_stand(
    teachers: Teachers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACEMILL_TEACHER_BASE_URL", teachers.base_url)
    Path("data").mkdir()
    rows = [{"prompt": f"Total of invoice {n}?", "response": f"{n}.00", "metadata": {"page": n}} for n in range(30)]
    Path("data/invoices.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    Path("data/prompt_seeds.txt").write_text("def first(): ...\ndef second(): ...\n")
    with Server("http://127.0.0.1:9/v1", tmp_path / "served") as server:
        # The page's server listens on its own port; ours picks a free one.
        known: dict[str, Any] = {"Distiller": lambda **_: Client(base_url=server.admin_url)}
        exec(UPLOAD, known)  # noqa: S102 - the page's own words
        exec(GENERATE, known)  # noqa: S102
        d, dataset = known["d"], known["dataset"]
        assert dataset.label == "invoice-extraction-v1"
        assert sorted(row.row["metadata"]["page"] for row in d.rows(dataset.label)) == list(range(30))
        kept = [row for row in d.rows("python-docstrings-v1") if row.end.state == "kept"]
        assert sorted(row.row["prompt"] for row in kept) == ["def first(): ...", "def second(): ..."]
        assert all(re.match(r"Docstring \d+ of def", row.row["response"]) for row in kept)
        d.close()
