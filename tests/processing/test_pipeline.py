"""Whole runs against scripted teachers."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from processing import config_file, curated, job_description
from processing.budget import Budget
from processing.errors import InputError, RunLockedError, TeacherError, TooFewExamplesError
from processing.inputs import Inputs
from processing.output import OutputFolder
from processing.pipeline import Dataset
from processing.run import process
from processing.sources import read_lines
from store.job import Job, JobStatus
from store.work import WorkStore
from tests.processing.teachers import GOOD, Body, Fault, Teachers, kind_of, last_user, no_fault

BANKING = "You are a helpful banking assistant that answers customer questions about their accounts."
SEED = ("What is my balance?", "Your balance is $1,234.", "Transfer $100 to savings.", "Done, $100 transferred.")
TOPICS = ("balance", "card limit", "savings rate", "loan offer", "wire transfer", "standing order", "fees", "overdraft")


def chat(*texts: str) -> Body:
    roles = ("user", "assistant")
    messages = [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
    return {"messages": [{"role": "system", "content": "You are a banking assistant."}, *messages]}


def traces(count: int) -> list[Body]:
    return [
        chat(
            f"Question {number} is about my {TOPICS[number % len(TOPICS)]} of {number * 7919 % 9973} pounds",
            f"A recorded answer with number {number}",
        )
        for number in range(count)
    ]


def inputs(lines: list[Any], test: Path | None = None, task: str = "chat-completion", **changes: Any) -> Inputs:
    settings = {
        "min_generated_examples": 0,
        "num_traces_as_training_base": 40,
        "num_traces_as_testing_base": 20,
        "relabelling_committee_models": ["one", "two", "three"],
        "teacher_model_name": "teacher",
        **changes,
    }
    raw = {
        "base": {"task": task, "llm_num_parallel_requests": settings.pop("parallel", 4)},
        "trace_processing": settings,
        "evaluation": {"llm_as_a_judge_model_name": "judge"},
        "synthgen": settings.pop("synthgen", {}),
    }
    description = settings.pop("description", {"task_description": BANKING})
    config = config_file.parse(raw, source="config.yaml")
    return Inputs(
        read_lines([json.dumps(line).encode() if not isinstance(line, bytes) else line for line in lines], "t.jsonl"),
        config,
        job_description.parse(description, task=task, source="job_description.json"),
        None if test is None else curated.load(test),
    )


async def run(
    given: Inputs, teachers: Teachers, tmp_path: Path, out: str = "out", budget: Budget | None = None
) -> tuple[Job, Dataset]:
    async with await WorkStore.open(tmp_path / "work.db") as work:
        environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url}
        return await process(given, tmp_path / out, work, environ, budget=budget, first_wait_s=0.001)


def rows(folder: Path, name: str) -> list[Body]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


def assert_counts_add_up(report: Body) -> None:
    for line in report["funnel"]:
        assert line["in"] == line["out"] + sum(n for reasons in line["ended"].values() for n in reasons.values()), line
    for totals in report["totals"].values():
        assert totals["entered"] == totals["kept"] + totals["dropped"] + totals["failed"] + totals["review"]
    intake = report["intake"]
    parts = ("conversations", "absorbed", "duplicates", "rejected")
    assert intake["records"] == sum(intake[name] for name in parts)


async def test_a_run_makes_every_file_and_counts_that_add_up(teachers: Teachers, tmp_path: Path) -> None:
    lines: list[Any] = [*traces(60), chat("something off topic", "yes"), chat("garbled words", "no"), b"{broken"]
    lines += [chat("left alone"), chat("what now, in the end?", "")]
    job, dataset = await run(inputs(lines), teachers, tmp_path)
    assert job.status is JobStatus.SUCCESS
    out = tmp_path / "out"
    assert set(files(out)) == {
        "train.jsonl", "test.jsonl", "unstructured.jsonl", "predictions.jsonl", "dropped.jsonl", "failed.jsonl",
        "review.jsonl", "rejected.jsonl", "lineage.jsonl", "report.json", "report.md", "report.html",
        "manifest.json",
    }  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    assert report == dataset.report
    assert_counts_add_up(report)
    assert report["totals"]["conversations"] == {"entered": 64, "kept": 60, "dropped": 4, "failed": 0, "review": 0}
    dropped = {(line["stage"], line["reason"]) for line in rows(out, "dropped.jsonl")}
    assert dropped == {
        ("rules", "no_assistant_turn"),
        ("rules", "empty_reply"),
        ("relevance", "low_relevance"),
        ("relevance", "low_coherence"),
    }
    assert rows(out, "rejected.jsonl")[0]["raw"] == "{broken"
    train, test = rows(out, "train.jsonl"), rows(out, "test.jsonl")
    unstructured = (out / "unstructured.jsonl").read_bytes().splitlines()
    assert len(train) + len(test) + len(unstructured) == 60
    assert len(read_lines(unstructured, "u", "unstructured_with_openai_messages").conversations) == len(unstructured)
    assert train
    assert test
    assert all(row["response"].startswith(GOOD) for row in train + test)
    assert job.base_model_performance == report["base_model_performance"]


async def test_the_manifest_names_every_file_with_its_hash(teachers: Teachers, tmp_path: Path) -> None:
    await run(inputs(traces(8)), teachers, tmp_path)
    found = files(tmp_path / "out")
    manifest = json.loads(found.pop("manifest.json"))
    assert {name: one["sha256"] for name, one in manifest["files"].items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in found.items()
    }
    assert manifest["prompts"].keys() >= {"filter", "relabel", "arbiter", "judge", "rewrite", "compress"}


async def test_the_seeds_banking_conversation_becomes_its_two_examples(teachers: Teachers, tmp_path: Path) -> None:
    line = chat(
        "What is my balance?", "Your balance is $1,234.", "Transfer $100 to savings.", "Done, $100 transferred."
    )
    await run(inputs([line], num_traces_as_testing_base=0), teachers, tmp_path)
    first, second = rows(tmp_path / "out", "train.jsonl")
    assert [message["role"] for message in first["messages"]] == ["system", "user", "assistant"]
    assert first["messages"][-1]["content"] == f"{GOOD}What is my balance?"
    assert [message["content"] for message in second["messages"][1:4]] == [
        "What is my balance?",
        "Your balance is $1,234.",
        "Transfer $100 to savings.",
    ]
    assert second["messages"][-1] == {
        "role": "assistant",
        "content": f"{GOOD}Transfer $100 to savings.",
        "weight": 1,
    }
    assert second["messages"][2]["weight"] == 0
    assert second["metadata"]["original_response"] == "Done, $100 transferred."


async def test_the_whole_conversation_is_rewritten_together_when_asked(teachers: Teachers, tmp_path: Path) -> None:
    line = chat(
        "What is my balance?", "Your balance is $1,234.", "Transfer $100 to savings.", "Done, $100 transferred."
    )
    given = inputs([line], num_traces_as_testing_base=0, convert_to_single_turn=False)
    await run(given, teachers, tmp_path)
    (row,) = rows(tmp_path / "out", "train.jsonl")
    assert [message["content"] for message in row["messages"][1:]] == [
        "What is my balance?",
        f"{GOOD}2",
        "Transfer $100 to savings.",
        f"{GOOD}4",
    ]
    assert row["metadata"]["targets"] == [2, 4]


async def test_the_bytes_do_not_depend_on_how_many_calls_run_at_once(teachers: Teachers, tmp_path: Path) -> None:
    def disagree(body: Body) -> Body:
        """Members agree on some questions, and slips, faults and the arbiter come into play on the others."""
        question = last_user(body)
        if "answer is not" in question or "card" in question:
            return {"content": f"{GOOD}{question}"}
        if body["model"] == "two" and "fees" in question:
            raise Fault(400, "{}")
        return {"content": f"{body['model'] * 3} {GOOD if body['model'] == 'one' else ''}{question[:20]}"}

    teachers.reply = disagree
    lines = [*traces(40), chat("something off topic", "yes")]
    made = []
    for parallel in (1, 8):
        folder = tmp_path / str(parallel)
        await run(inputs(lines, parallel=parallel, relevance_filtering_batch_size=7), teachers, folder)
        made.append(files(folder / "out"))
    assert made[0] == made[1]
    methods = json.loads(made[0]["report.json"])["relabel"]["methods"]
    assert methods.keys() >= {"arbiter", "medoid"}


async def test_a_second_run_asks_nobody_and_moving_a_threshold_neither(teachers: Teachers, tmp_path: Path) -> None:
    lines = [*traces(12), chat("this one is off topic", "yes")]
    await run(inputs(lines), teachers, tmp_path)
    paid = len(teachers.requests)
    first = files(tmp_path / "out")
    await run(inputs(lines), teachers, tmp_path)
    assert files(tmp_path / "out") == first
    await run(inputs(lines, min_coherence_score=5), teachers, tmp_path, "stricter")
    assert len(teachers.requests) == paid


async def test_new_conversations_pay_for_themselves_alone(teachers: Teachers, tmp_path: Path) -> None:
    settings = {"evaluate_original_model": False, "num_traces_as_testing_base": 0}
    await run(inputs(traces(10), **settings), teachers, tmp_path)
    before = len(teachers.requests)
    await run(inputs(traces(12), **settings), teachers, tmp_path)
    new = teachers.requests[before:]
    assert sorted(kind_of(body) for body in new) == sorted(["tracemill_relevance", *["relabel"] * 6])


async def test_a_missing_score_is_asked_for_alone_and_shifts_no_other(teachers: Teachers, tmp_path: Path) -> None:
    asked: list[str] = []

    def forget_once(conversation: Body) -> tuple[int, int] | None:
        said = json.dumps(conversation["messages"])
        asked.append(said)
        if "Question 3 " in said and sum("Question 3 " in one for one in asked) == 1:
            return None
        return (1, 5) if "Question 4 " in said else (5, 5)

    teachers.relevance = forget_once
    await run(inputs(traces(8)), teachers, tmp_path)
    assert teachers.count("tracemill_relevance") == 2
    (dropped,) = rows(tmp_path / "out", "dropped.jsonl")
    assert "Question 4 " in json.dumps(dropped["messages"])


async def test_a_conversation_scored_twice_in_one_answer_is_asked_about_alone(
    teachers: Teachers, tmp_path: Path
) -> None:
    teachers.repeats_first = True
    _, dataset = await run(inputs(traces(4)), teachers, tmp_path)
    assert teachers.count("tracemill_relevance") == 2
    assert dataset.report["totals"]["conversations"]["kept"] == 4


async def test_a_conversation_that_is_never_scored_fails_and_is_counted(teachers: Teachers, tmp_path: Path) -> None:
    teachers.relevance = lambda one: None if "Question 3 " in json.dumps(one) else (5, 5)
    _, dataset = await run(inputs(traces(8)), teachers, tmp_path)
    assert dataset.report["totals"]["conversations"]["failed"] == 1
    (failed,) = rows(tmp_path / "out", "failed.jsonl")
    assert failed["reason"] == "unscored"
    assert_counts_add_up(dict(dataset.report))


async def test_verdicts_in_fences_are_read(teachers: Teachers, tmp_path: Path) -> None:
    teachers.wraps_json = True
    _, dataset = await run(inputs([*traces(6), chat("quite off topic", "yes")]), teachers, tmp_path)
    assert dataset.report["totals"]["conversations"]["dropped"] == 1


async def test_disagreement_goes_to_the_arbiter_and_none_correct_to_review(teachers: Teachers, tmp_path: Path) -> None:
    words = {"one": "alpha", "two": "beta gamma", "three": "delta epsilon"}
    teachers.reply = lambda body: {"content": words[body["model"]] * 3}
    teachers.arbiter = lambda _: {"reason": "no", "best": "A", "also_correct": [], "none_correct": True}
    _, dataset = await run(inputs(traces(6)), teachers, tmp_path)
    review = rows(tmp_path / "out", "review.jsonl")
    assert {line["reason"] for line in review if line["kind"] == "example"} == {"none_correct"}
    assert all(len(line["detail"]["votes"]) == 4 for line in review if line["kind"] == "example")
    assert dataset.report["base_model_performance"] is None
    assert_counts_add_up(dict(dataset.report))


async def test_nobody_can_tell_which_candidate_was_recorded(teachers: Teachers, tmp_path: Path) -> None:
    words = {"one": "alpha", "two": "beta gamma", "three": "delta epsilon"}
    teachers.reply = lambda body: {"content": words[body["model"]] * 3}
    places: set[str] = set()

    def find_recorded(data: Body) -> Body:
        found = [letter for letter, said in data["candidates"].items() if "recorded" in said[0]["content"]]
        places.add(found[0])
        return {"reason": "it", "best": found[0], "also_correct": [], "none_correct": False}

    teachers.arbiter = find_recorded
    await run(inputs(traces(30)), teachers, tmp_path)
    assert places == {"A", "B", "C", "D"}
    assert not any("original" in json.dumps(body) for body in teachers.requests if kind_of(body) == "tracemill_arbiter")


async def test_the_base_model_is_scored_on_test_and_on_an_unfiltered_sample(teachers: Teachers, tmp_path: Path) -> None:
    right = [
        chat(text, f"{GOOD}{text}")
        for text in (f"Please tell me about {topic} number {n * 31}" for n in range(4) for topic in TOPICS)
    ]
    _, dataset = await run(inputs([*right, *traces(20)]), teachers, tmp_path)
    found = dataset.report["base_model_performance"]
    lines = rows(tmp_path / "out", "predictions.jsonl")
    share = sum(line["answer"] == line["prediction"] for line in lines) / len(lines)
    assert 0 < share < 1
    assert found["binary"] == pytest.approx(share, abs=1e-6)
    assert found["llm-as-a-judge"] == pytest.approx(share, abs=1e-6)
    assert {"question", "answer", "prediction", "context", "binary", "rouge", "meteor"} <= lines[0].keys()
    test = dataset.report["base_model"]["test"]
    sample = dataset.report["base_model"]["unfiltered_sample"]
    assert test["intervals"]["binary"]["low"] <= found["binary"] <= test["intervals"]["binary"]["high"]
    assert len(test["test_set_hash"]) == 32
    assert sample["conversations_drawn"] == 50
    assert sample["test_set_hash"] != test["test_set_hash"]


async def test_recorded_labels_stay_when_relabelling_is_off(teachers: Teachers, tmp_path: Path) -> None:
    _, dataset = await run(inputs(traces(8), relabel=False, relevance_filtering=False), teachers, tmp_path)
    assert teachers.requests == []
    assert all("recorded answer" in row["response"] for row in rows(tmp_path / "out", "train.jsonl"))
    assert dataset.report["base_model_performance"] is None


async def test_a_test_file_is_used_as_it_is_and_kept_out_of_train(teachers: Teachers, tmp_path: Path) -> None:
    lines = traces(8)
    test = tmp_path / "test.jsonl"
    test.write_text(json.dumps(lines[2]) + '\n{"question":  "Anything?",\t"answer": "Yes"}\n')
    _, dataset = await run(inputs(lines, test=test), teachers, tmp_path)
    assert (tmp_path / "out" / "test.jsonl").read_bytes() == test.read_bytes()
    train = rows(tmp_path / "out", "train.jsonl")
    assert len(train) == 7
    assert not any("Question 2 " in row["prompt"] for row in train)
    assert dataset.report["split"]["left_train_for_test"] == 1
    assert_counts_add_up(dict(dataset.report))


async def test_too_few_examples_fail_the_job_and_say_where_they_went(teachers: Teachers, tmp_path: Path) -> None:
    lines = [*traces(3), chat("so off topic", "yes")]
    with pytest.raises(TooFewExamplesError, match=r"3 examples were kept.*asks for 20.*low_relevance 1"):
        await run(inputs(lines, min_generated_examples=20), teachers, tmp_path)
    assert files(tmp_path / "out") == {}
    async with await WorkStore.open_to_read(tmp_path / "work.db") as work:
        job = await work.job("out")
    assert job is not None
    assert job.status is JobStatus.FAILURE
    assert "asks for 20" in (job.error or "")


async def test_what_a_stopped_run_paid_for_is_not_paid_again(teachers: Teachers, tmp_path: Path) -> None:
    def refuse_after_nine(number: int, _body: Body) -> None:
        if 9 < number < 1000:
            raise Fault(401, '{"error": {"message": "no credit"}}')

    teachers.fault = refuse_after_nine
    with pytest.raises(TeacherError, match="the key is refused"):
        await run(inputs(traces(10)), teachers, tmp_path)
    refused = len(teachers.requests) - 9
    teachers.fault = no_fault
    await run(inputs(traces(10)), teachers, tmp_path)
    total = len(teachers.requests) - refused
    calls = sum(bill["calls"] for bill in json.loads((tmp_path / "out" / "report.json").read_text())["calls"].values())
    assert total == calls


async def test_one_run_per_folder(teachers: Teachers, tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out"), pytest.raises(RunLockedError, match=r"process .* is running into this folder"):
        await run(inputs(traces(2)), teachers, tmp_path)


async def test_a_model_without_a_server_is_an_input_error_before_anything_is_paid(tmp_path: Path) -> None:
    async with await WorkStore.open(tmp_path / "work.db") as work:
        with pytest.raises(InputError, match="Set TRACEMILL_TEACHER_BASE_URL"):
            await process(inputs(traces(2)), tmp_path / "out", work, {})


async def test_labels_are_voted_on_and_named_as_the_description_names_them(teachers: Teachers, tmp_path: Path) -> None:
    answers = {"one": "billing", "two": '"Billing"', "three": "Technical"}
    teachers.reply = lambda body: {"content": answers[body["model"]]}
    lines = [chat(f"My invoice number {n * 7919} is wrong", "Billing") for n in range(8)]
    description = {
        "task_description": "Sort.",
        "classes_description": {"Billing": "money", "Technical": "bugs"},
    }
    _, dataset = await run(inputs(lines, task="classification", description=description), teachers, tmp_path)
    train = rows(tmp_path / "out", "train.jsonl")
    assert {row["response"] for row in train} == {"Billing"}
    assert {(row["metadata"]["method"], row["metadata"]["agreement"]) for row in train} == {("vote", 0.75)}
    assert dataset.report["base_model_performance"]["accuracy"] == 1.0
    assert dataset.report["base_model_performance"]["Billing"]["f1-score"] == 1.0


async def test_compressed_job_descriptions_are_what_teachers_see(teachers: Teachers, tmp_path: Path) -> None:
    def shorten(body: Body) -> Body:
        if "Shorten a job description" in body["messages"][0]["content"]:
            return {"content": "Bank help."}
        return {"content": f"{GOOD}anything"}

    teachers.reply = shorten
    await run(inputs(traces(4), compress_job_description=True), teachers, tmp_path)
    filters = [body for body in teachers.requests if kind_of(body) == "tracemill_relevance"]
    assert all("Bank help." in body["messages"][0]["content"] for body in filters)
    assert not any(BANKING in body["messages"][0]["content"] for body in filters)


async def test_tools_of_the_job_description_are_offered_when_none_were_recorded(
    teachers: Teachers, tmp_path: Path
) -> None:
    lock = {"type": "function", "function": {"name": "lock_card", "parameters": {"type": "object"}}}
    call = {"id": "x", "type": "function", "function": {"name": "lock_card", "arguments": "{}"}}
    teachers.reply = lambda _: {"content": None, "tool_calls": [call]}
    description = {"task_description": BANKING, "tools": [lock]}
    given = inputs(
        [chat("Lock my card", "I cannot")],
        task="tool-calling-closed-book",
        description=description,
        num_traces_as_testing_base=0,
    )
    await run(given, teachers, tmp_path)
    (row,) = rows(tmp_path / "out", "train.jsonl")
    assert row["tools"] == [lock]
    assert row["response"] == '{"name":"lock_card","arguments":{}}'


async def test_the_order_of_the_lines_decides_nothing_but_the_order_of_the_rows(
    teachers: Teachers, tmp_path: Path
) -> None:
    def disagree(body: Body) -> Body:
        question = last_user(body)
        return {"content": f"{GOOD}{question}" if "card" in question else f"{body['model'] * 3} {question[:20]}"}

    teachers.reply = disagree
    lines = [*traces(30), chat(*SEED), chat(*SEED[:2], "Regenerated.", "Done."), *traces(6), chat("off topic", "no")]
    found = []
    for number, order in enumerate((lines, lines[::-1])):
        folder = tmp_path / str(number)
        _, dataset = await run(inputs(order, relevance_filtering_batch_size=7), teachers, folder)
        assert_counts_add_up(dict(dataset.report))
        made = {
            (name, json.dumps({**row, "metadata": {**row["metadata"], "source": None}}, sort_keys=True))
            for name in ("train.jsonl", "test.jsonl")
            for row in rows(folder / "out", name)
        }
        found.append((made, dataset.report["base_model_performance"], dataset.report["totals"]))
    assert found[0] == found[1]
    train, test = (
        {row["metadata"]["group"] for row in rows(tmp_path / "0/out", f"{p}.jsonl")} for p in ("train", "test")
    )
    assert train
    assert test
    assert not train & test


async def test_each_target_of_a_row_names_the_trace_and_the_answer_it_comes_from(
    teachers: Teachers, tmp_path: Path
) -> None:
    """The traces of a whole conversation were listed without gaps, so nobody could tell which target had none."""
    start = {**chat(*SEED[:2]), "metadata": {"trace_id": "first", "model": "old"}}
    middle = chat(*SEED)
    end = {**chat(*SEED, "Thanks!", "Bye."), "metadata": {"trace_id": "third", "model": "new"}}
    given = inputs([start, middle, end], num_traces_as_testing_base=0, convert_to_single_turn=False)
    await run(given, teachers, tmp_path)
    (row,) = rows(tmp_path / "out", "train.jsonl")
    told = row["metadata"]
    assert told["targets"] == [2, 4, 6]
    assert told["source_trace_ids"] == ["first", None, "third"]
    assert told["original_responses"] == [SEED[1], SEED[3], "Bye."]
    assert (told["source_trace_id"], told["original_model"], told["original_response"]) == ("third", "new", "Bye.")


async def test_a_relabelled_call_fits_its_schema_or_is_no_label(teachers: Teachers, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"card": {"enum": ["debit", "credit"]}}, "required": ["card"]}
    tool = {"type": "function", "function": {"name": "lock", "parameters": schema}}
    said = {"one": '{"card": "gold"}', "two": '{"card": "debit"}', "three": '{"card":"debit"}'}
    teachers.reply = lambda body: {
        "content": None,
        "tool_calls": [{"id": "x", "type": "function", "function": {"name": "lock", "arguments": said[body["model"]]}}],
    }
    line = {**chat("Lock my card", "I cannot"), "tools": [tool]}
    await run(inputs([line], task="tool-calling-closed-book", num_traces_as_testing_base=0), teachers, tmp_path)
    (row,) = rows(tmp_path / "out", "train.jsonl")
    assert json.loads(row["messages"][-1]["tool_calls"][0]["function"]["arguments"]) == {"card": "debit"}
    votes = {vote["source"]: vote for vote in row["metadata"]["votes"]}
    assert votes["one"]["problem"].startswith("arguments of lock at /card")
    assert [vote["agrees"] for vote in votes.values()] == [None, True, True, False]
