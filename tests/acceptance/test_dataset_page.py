"""The page about datasets this product was asked for with, sentence by sentence, through the command line.

Its snippets of Python are in `test_dataset_snippets`.
"""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from store.uuid7 import uuid7
from tests.processing.teachers import Body, Teachers, data_of, kind_of, last_user, row_scores, serving
from tracemill.cli import app

SQL, TICKETS, REVIEWS = "SQL generation", "Support ticket triage", "Code review feedback"
SIZES = {TICKETS: 42, SQL: 24, REVIEWS: 12}
CLASSES = ("billing", "technical", "feature_request")


@pytest.fixture(autouse=True)
def teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Teachers]:
    with serving() as found:
        found.reply = reply
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("TRACEMILL_TEACHER_BASE_URL", found.base_url)
        yield found


def run(*arguments: str | Path) -> Result:
    """Run a command in this process: there are some eighty of them here, and each would take half a second to start."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def ok(*arguments: str | Path) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def told(*arguments: str | Path) -> Any:
    return json.loads(ok(*arguments, "--json"))


def rows_of(reference: str) -> list[Body]:
    """Each row of a version with its end: `{"row", "part", "end", …}`."""
    return [json.loads(line) for line in ok("datasets", "rows", reference, "--limit", "1000", "--json").splitlines()]


def lines(name: str) -> list[Body]:
    return [json.loads(line) for line in Path(name).read_bytes().split(b"\n") if line]


def write_lines(name: str, found: list[Body]) -> Path:
    path = Path(name)
    path.write_text("".join(f"{json.dumps(each)}\n" for each in found))
    return path


def ask_of(kind: str, number: int) -> str:
    if kind == SQL:
        table = ["orders", "customers", "invoices", "shipments"][number % 4]
        return f"Write a SQL query that selects the {number + 3} newest rows of the table {table} by created_at."
    if kind == TICKETS:
        problem = ["I was charged twice", "the app crashes at start", "please add a dark mode"][number % 3]
        return f"Classify this ticket into one of: {', '.join(CLASSES)}. Ticket: {problem}, case {number * 7919}."
    function = ["parse_config", "merge_intervals", "fetch_user"][number % 3]
    return f"Review this code and give feedback on the Python function {function}, revision {number}."


def answer_of(kind: str, number: int) -> str:
    if kind == SQL:
        return f"SELECT * FROM t ORDER BY created_at DESC LIMIT {number + 3};"  # noqa: S608 - an answer, never run
    return CLASSES[number % 3] if kind == TICKETS else f"Name the variable at line {number} after what it holds."


def captured() -> None:
    """Fill the store with traffic of three kinds, some of which failed."""
    traces = []
    for kind, size in SIZES.items():
        for number in range(size):
            messages = [
                {"role": "user", "content": ask_of(kind, number)},
                {"role": "assistant", "content": answer_of(kind, number)},
            ]
            # A refusal and an answer without words: noise that has to end somewhere.
            if kind == TICKETS and number == 40:
                messages[1] = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
            if kind == TICKETS and number == 41:
                messages[1]["content"] = ""
            traces.append({"trace_id": str(uuid7()), "messages": messages})
    ok("import", write_lines("traces.jsonl", traces))


def reply(body: Body) -> Body:
    """Name clusters, and answer like a good model: by the same rules as the traffic."""
    if kind_of(body) == "tracemill_cluster_name":
        members = json.dumps(data_of(body)["members"])
        name = SQL if "newest rows" in members else TICKETS if "Ticket:" in members else REVIEWS
        return {"content": json.dumps({"reason": "by its words", "name": name, "description": name})}
    asked = last_user(body)
    number = int((re.search(r"case (\d+)", asked) or ["", "0"])[1]) // 7919
    return {"content": CLASSES[number % 3]}


def clustered() -> dict[str, int]:
    captured()
    ok("clusters", "build", "--name-model", "namer", "--k", "3", "--min-traces", "5")
    listed = ok("clusters", "list")
    return {name: int(id_) for id_, name in re.findall(r'^cluster (\d+) +→ "([^"]+)"', listed, re.MULTILINE)}


def test_traces_are_clustered_named_and_promoted_to_a_dataset(teachers: Teachers) -> None:
    """Clusters your traces by prompt embedding similarity, names each, and offers each named cluster as a dataset."""
    ids = clustered()
    listed = ok("clusters", "list")
    assert set(ids) == set(SIZES)
    for name, size in SIZES.items():
        assert re.search(rf'^cluster {ids[name]} +→ "{name}" +\({size} traces', listed, re.MULTILINE), listed
    asked = len(teachers.requests)
    assert {kind_of(body) for body in teachers.requests} == {"tracemill_cluster_name"}

    # Promote to dataset: give it a name, and pick the rows to include.
    made = told("clusters", "promote", str(ids[SQL]), "--name", "sql", "--rows", "10")
    assert ok("datasets", "list").startswith("sql-v1  (active, 10 rows")
    assert len(teachers.requests) == asked, "rows hold what was recorded: nobody is asked"
    assert made
    first = rows_of("sql-v1")[0]
    metadata = first["row"]["metadata"]
    assert metadata["cluster_id"] == ids[SQL]

    # Rows that came from traces retain a source_trace_id: you can always follow back to the original request.
    shown = told("traces", "show", metadata["source_trace_id"])
    assert shown["messages"][0]["content"] == first["row"]["prompt"]
    assert "sql-v1" in ok("where", metadata["source_trace_id"])
    assert metadata["source_trace_id"] in ok("why", first["row"]["row_id"])


def test_failures_and_refusals_of_a_cluster_end_with_their_reasons() -> None:
    """Raw traces include failures, refusals, truncated outputs."""
    ids = clustered()
    ok("clusters", "promote", str(ids[TICKETS]), "--name", "tickets")
    rows = rows_of("tickets-v1")
    ends = [row["end"] for row in rows]
    assert len(rows) == SIZES[TICKETS]
    assert sorted(end["reason"] for end in ends if end["state"] == "dropped") == ["empty_reply", "refusal"]
    assert sum(end["state"] == "kept" for end in ends) == SIZES[TICKETS] - 2


def test_files_of_each_kind_become_datasets_of_the_same_rows(teachers: Teachers) -> None:
    """If you already have labeled data, a JSONL, a CSV, a Hugging Face dataset, you can upload it directly."""
    rows = [{"prompt": f"Total of invoice {n}?", "response": f"{n * 17}.00 EUR"} for n in range(12)]
    write_lines("invoices.jsonl", [{**row, "metadata": {"page": n}} for n, row in enumerate(rows)])
    (Path("invoices.csv")).write_text(
        "question,answer\n" + "".join(f"{row['prompt']},{row['response']}\n" for row in rows)
    )
    hub = Path("invoices_hf") / "data"
    hub.mkdir(parents=True)
    write_lines(f"{hub}/train.jsonl", [dict(row) for row in rows])
    for name, path in (("jsonl", "invoices.jsonl"), ("csv", "invoices.csv"), ("hf", "invoices_hf")):
        ok("datasets", "upload", path, "--name", f"invoices.{name}")
        found = [row["row"] for row in rows_of(f"invoices.{name}-v1")]
        assert sorted((row["prompt"], row["response"]) for row in found) == sorted(
            (row["prompt"], row["response"]) for row in rows
        )
        if name == "jsonl":
            assert sorted(row["metadata"]["page"] for row in found) == list(range(12))
    assert teachers.requests == []


def test_a_teacher_answers_prompts_and_the_judges_best_answers_stay(teachers: Teachers) -> None:
    """The engine asks a teacher model to generate N responses per prompt, judges them, and keeps the top ones."""
    drawn = iter(range(10_000))
    teachers.reply = lambda body: {"content": f"Docstring {next(drawn) % 4} of {last_user(body)}"}
    teachers.judge_row = lambda data: row_scores(
        *[2 + int(re.findall(r"Docstring (\d)", json.dumps(data["messages"]))[-1])] * 4
    )
    seeds = Path("prompt_seeds.txt")
    seeds.write_text("".join(f"def function_{number * 31}(): ...\n" for number in range(8)))
    models = ["--teacher", "openai/gpt-4o", "--judge", "openai/gpt-4o-mini"]
    ok("generate", "--name", "docs", "--prompts", seeds, "--n-samples", "4", *models)
    asked = [body["model"] for body in teachers.requests]
    assert asked.count("openai/gpt-4o") == 8 * 4
    assert asked.count("openai/gpt-4o-mini") > 0
    rows = rows_of("docs-v1")
    kept = [row["row"] for row in rows if row["end"]["state"] == "kept"]
    assert sorted(row["prompt"] for row in kept) == sorted(seeds.read_text().split("\n")[:-1])
    for row in kept:
        others = [each["row"] for each in rows if each["row"]["prompt"] == row["prompt"]]
        scores = [each["metadata"]["judge_score"] for each in others if each["metadata"]["judge_score"] is not None]
        assert row["metadata"]["judge_score"] == max(scores)
        assert row["metadata"]["teacher_model"] == "openai/gpt-4o"


def test_a_row_looks_like_the_pages() -> None:
    """Each row is a (prompt, response, metadata) tuple."""
    ids = clustered()
    ok("clusters", "promote", str(ids[TICKETS]), "--name", "triage")
    ok("datasets", "judge", "triage", "--model", "openai/gpt-4o-mini")
    ok("datasets", "freeze", "triage")
    ok("datasets", "export", "triage-v1", "--format", "opentracy", "-o", "rows.jsonl")
    row = next(row for row in lines("rows.jsonl") if row["response"] == "billing")
    assert set(row) == {"row_id", "prompt", "response", "metadata"}
    assert row["prompt"].startswith("Classify this ticket into one of: billing, technical, feature_request. Ticket: ")
    assert {"source_trace_id", "teacher_model", "judge_score", "cluster_id", "tags"} <= set(row["metadata"])
    assert row["metadata"]["teacher_model"] is None, "the label is the recorded answer: no teacher wrote it"
    assert row["metadata"]["judge_score"] == 1.0
    assert row["metadata"]["cluster_id"] == ids[TICKETS]


def test_curation_judges_filters_and_leaves_the_borderline_to_a_person(teachers: Teachers) -> None:
    """A judge scores each row; rules drop; a person reviews the top slice; each stage runs alone."""
    teachers.judge_row = lambda data: row_scores(
        *[1 if "bad" in json.dumps(data) else 4 if "fair" in json.dumps(data) else 5] * 4
    )
    words = ["good", "fair", "bad", "good", "good", "good"]
    rows = [
        {"prompt": f"Ticket {n * 7919} about something of its own", "response": f"{word} answer {n * 104729}"}
        for n, word in enumerate(words * 5)
    ]
    rows.append({"prompt": "Where is my card?", "response": "good: write to jane.doe@example.com"})
    rows.append({"prompt": "How long?", "response": "good " + "very " * 3000 + "long"})
    write_lines("rows.jsonl", rows)
    ok("datasets", "upload", "rows.jsonl", "--name", "curated")

    ok("datasets", "judge", "curated", "--model", "openai/gpt-4o-mini", "--threshold", "0.8")
    asked = len(teachers.requests)
    strict = {row["row"]["response"]: row["end"] for row in rows_of("curated-v1")}
    assert {end["state"] for said, end in strict.items() if said.startswith("bad")} == {"dropped"}
    assert {end["state"] for said, end in strict.items() if said.startswith("fair")} == {"dropped"}
    ok("datasets", "judge", "curated", "--threshold", "0.5")
    assert len(teachers.requests) == asked, "a threshold moves without paying"
    eased = {row["row"]["response"]: row["end"] for row in rows_of("curated-v1")}
    assert {end["state"] for said, end in eased.items() if said.startswith("fair")} == {"kept"}
    assert {end["state"] for said, end in eased.items() if said.startswith("bad")} == {"dropped"}

    ok("datasets", "filter", "curated", "--pii", "drop", "--max-chars", "5000")
    after = {row["row"]["response"]: row["end"] for row in rows_of("curated-v1")}
    assert next(end for said, end in after.items() if "jane.doe" in said)["state"] == "dropped"
    assert next(end for said, end in after.items() if "very" in said)["reason"] == "too_long"

    ok("review", "curated", "--export", "waiting.jsonl")
    waiting = lines("waiting.jsonl")
    assert waiting
    person = ["--who", "ana"]
    write_lines("decided.jsonl", [{**line, "decision": "accept"} for line in waiting])
    ok("review", "curated", "--apply", "decided.jsonl", *person)
    ok("datasets", "freeze", "curated")
    shown = ok("datasets", "show", "curated-v1")
    assert "skipped" not in shown, "nothing of curation was skipped"


def test_versions_are_frozen_listed_with_their_notes_and_never_change() -> None:
    """Datasets are immutable once frozen. If you curate more rows or change the judge, you get a new version."""
    name = "invoice-extraction"

    def upload(count: int, *arguments: str) -> None:
        rows = [{"prompt": f"Total of invoice {n * 7919}?", "response": f"{n * 104729}.00"} for n in range(count)]
        write_lines("rows.jsonl", rows)
        ok("datasets", "upload", "rows.jsonl", *arguments)
        ok("datasets", "freeze", name)

    upload(47, "--name", f"{name}-v1")
    upload(40, "--name", name, "--note", "stricter judge threshold")
    write_lines("more.jsonl", [{"prompt": f"Sum {n * 31}?", "response": str(n * 37)} for n in range(12)])
    ok("datasets", "upload", "more.jsonl", "--name", name, "--add")
    ok("review", name, "--export", "waiting.jsonl")
    decided = [{**line, "decision": "accept"} for line in lines("waiting.jsonl")]
    write_lines("decided.jsonl", decided)
    ok("review", name, "--apply", "decided.jsonl", "--who", "ana")
    first, second, third = ok("datasets", "versions", name).splitlines()[:3]
    assert first == f"{name}-v1  (frozen, 47 rows)"
    assert second == f"{name}-v2  (frozen, 40 rows, stricter judge threshold)"
    counted = re.fullmatch(rf"{name}-v3  \(active, 40 rows \+ (\d+) newly reviewed \+ (\d+) new\)", third)
    assert counted, third
    assert sum(map(int, counted.groups())) == 12

    before = told("datasets", "show", f"{name}-v2")
    with closing(sqlite3.connect(Path("tracemill-data") / "work.db")) as database:
        for attack in (
            "UPDATE versions SET note = 'mine' WHERE number = 2",
            "DELETE FROM versions WHERE number = 2",
            "UPDATE version_rows SET state = 'dropped'",
            "DELETE FROM version_rows",
            "UPDATE row_contents SET body = x'00'",
            "DELETE FROM row_contents",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                database.execute(attack)
    for command in (("judge", "--threshold", "0.1"), ("discard",)):
        done = run("datasets", command[0], f"{name}-v2", *command[1:])
        assert done.exit_code != 0
    assert told("datasets", "show", f"{name}-v2") == before
    assert "sound" in ok("datasets", "verify")


def test_any_model_is_evaluated_on_a_dataset_with_accuracy_cost_and_latency(teachers: Teachers) -> None:
    """Run any model against it and compare accuracy, cost per row, and latency; every job records its version."""
    config = {
        "base": {"task": "classification"},
        "models": {
            "good": {"price": {"input": 2.0, "output": 8.0}},
            "weak": {"price": {"input": 0.1, "output": 0.4}},
        },
    }
    (Path("config.json")).write_text(json.dumps(config))
    teachers.reply = lambda body: reply(body) if body["model"] == "good" else {"content": "billing"}
    rows = [{"prompt": ask_of(TICKETS, n), "response": answer_of(TICKETS, n)} for n in range(30)]
    write_lines("rows.jsonl", rows)
    ok("datasets", "upload", "rows.jsonl", "--name", "triage", "--part", "test")
    ok("datasets", "freeze", "triage")
    models = ["--model", "good", "--model", "weak", "--config", "config.json"]
    found = told("evaluate", "triage-v1", "--task", "classification", *models)
    good, weak = found["evaluations"]
    assert (good["version_hash"], good["dataset"], good["version"]) == (weak["version_hash"], "triage", 1)
    assert good["metrics"]["scores"]["accuracy"]["mean"] == 1.0
    assert weak["metrics"]["scores"]["accuracy"]["mean"] == pytest.approx(1 / 3)
    assert good["cost"]["per_row"] == pytest.approx((10 * 2.0 + 5 * 8.0) / 1e6)
    assert good["latency"]["p50_ms"] > 0
    shown = ok("compare", "triage-v1", "--model", "good", "--model", "weak")
    assert "good" in shown
    assert "better" in shown


def test_the_common_mistakes_are_warned_of() -> None:
    """Fewer than 200 rows, unrelated clusters in one dataset, curation skipped."""
    ids = clustered()
    ok("clusters", "promote", str(ids[SQL]), str(ids[TICKETS]), "--name", "mixed")
    ok("datasets", "freeze", "mixed")
    shown = ok("datasets", "show", "mixed-v1")
    for words in ("fewer than 200", "500 to 2,000", "clusters", "skipped"):
        assert words in shown, shown
