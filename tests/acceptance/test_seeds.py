"""The upload page this product was asked for with, sentence by sentence: its files, its examples, its commands."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.processing.teachers import Body, Teachers, data_of, kind_of, last_user, serving
from tests.server import tracemill

BANKING_LINES = [
    r"""{"messages": [{"role": "system", "content": "You are a helpful banking assistant."}, {"role": "user", "content": "What is my account balance?"}, {"role": "assistant", "content": "Your current account balance is $1,234.56."}]}""",  # noqa: E501
    r"""{"messages": [{"role": "system", "content": "You are a helpful banking assistant."}, {"role": "user", "content": "Transfer $100 to savings."}, {"role": "assistant", "content": "I've transferred $100 from your checking to your savings account."}]}""",  # noqa: E501
]
WEATHER_LINE = r"""{"messages": [{"role": "system", "content": "You are a helpful assistant with access to tools."}, {"role": "user", "content": "What's the weather in London?"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"London\"}"}}]}, {"role": "tool", "content": "{\"temperature\": 15, \"condition\": \"cloudy\"}"}], "tools": [{"type": "function", "function": {"name": "get_weather", "description": "Get the current weather for a city", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]}"""  # noqa: E501
JOB_DESCRIPTION = """{
  "task_description": "You are a helpful banking assistant that answers customer questions about their accounts, transactions, and banking products."
}
"""  # noqa: E501
CONFIG = """\
base:
  task: classification
  student_model_name: Llama-3.2-3B-Instruct

trace_processing:
  observation_format: openai_messages
  convert_to_single_turn: true
  relabel: true
"""
CLASSES = {"balance": "asks how much there is", "transfer": "asks to move money", "other": "anything else"}
COMMITTEE = {"zai.glm-5", "Qwen3-235B-A22B-Instruct-2507", "openai.gpt-oss-120b-thinking", "deepseek.v3.2"}
CONVERSATION = [
    ("system", "You are a banking assistant."),
    ("user", "What is my balance?"),
    ("assistant", "Your balance is $1,234."),
    ("user", "Transfer $100 to savings."),
    ("assistant", "Done, $100 transferred."),
]


@pytest.fixture
def teachers() -> Iterator[Teachers]:
    with serving() as found:
        yield found


def write(
    folder: Path,
    lines: list[str],
    *,
    config: str = CONFIG,
    description: str | Body = JOB_DESCRIPTION,
    **files: str,
) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "traces.jsonl").write_text("".join(f"{line}\n" for line in lines))
    text = description if isinstance(description, str) else json.dumps(description)
    (folder / "job_description.json").write_text(text)
    (folder / "config.yaml").write_text(config)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content, newline="")
    return folder


def run(folder: Path, teachers: Teachers, *arguments: str) -> CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRACEMILL")}
    environ["TRACEMILL_TEACHER_BASE_URL"] = teachers.base_url
    done = tracemill(*arguments, cwd=folder, env=environ)
    assert "Traceback" not in done.stderr
    return done


def rows(path: Path) -> list[Body]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def labelled() -> Body:
    return {**json.loads(JOB_DESCRIPTION), "classes_description": CLASSES}


def classify(body: Body) -> Body:
    asked = last_user(body)
    return {"content": "transfer" if "Transfer" in asked else "balance" if "balance" in asked else "other"}


def many_banking_lines() -> list[str]:
    """The page's two lines and more of the kind; every third recorded answer is another label than the teachers'."""
    banking = {"role": "system", "content": "You are a helpful banking assistant."}
    made = []
    for number in range(28):
        asked = (
            f"Transfer ${number * 37} to account {number * 7919}." if number % 2 else f"What is balance {number * 101}?"
        )
        label = "other" if number % 3 == 0 else "transfer" if number % 2 else "balance"
        made.append(
            {"messages": [banking, {"role": "user", "content": asked}, {"role": "assistant", "content": label}]}
        )
    return [*BANKING_LINES, *map(json.dumps, made)]


def test_the_pages_classification_needs_its_classes(teachers: Teachers, tmp_path: Path) -> None:
    """The page: for task types that require additional fields, include them."""
    write(tmp_path / "traces", BANKING_LINES)
    done = run(tmp_path, teachers, "process", "--data", "./traces", "--out", "bank")
    assert done.returncode == 1
    assert "job_description.json: classes_description is missing" in done.stderr
    assert teachers.requests == []


def test_the_pages_few_lines_are_too_few_and_the_run_says_where_they_went(teachers: Teachers, tmp_path: Path) -> None:
    teachers.relevance = lambda one: (1, 5) if "weather" in json.dumps(one) else (5, 5)
    write(tmp_path / "traces", [*BANKING_LINES, BANKING_LINES[0], WEATHER_LINE, "{"], description=labelled())
    done = run(tmp_path, teachers, "process", "--data", "./traces", "--out", "bank")
    assert done.returncode == 1
    assert "2 examples were kept; trace_processing.min_generated_examples asks for 20." in done.stderr
    assert "Read: 5 records, 3 conversations (1 duplicates, 1 rejected as not_json)." in done.stderr
    assert "relevance took 1 of 3 conversations: low_relevance 1." in done.stderr
    assert {kind_of(body) for body in teachers.requests} == {"tracemill_relevance"}, (
        "the committee was paid for nothing"
    )
    status = json.loads(run(tmp_path, teachers, "status", "bank", "--output", "json").stdout)
    assert (status["status"], status["base_model_performance"]) == ("JOB_FAILURE", None)


def test_the_pages_directory_and_config_as_printed_make_a_dataset_and_a_baseline(
    teachers: Teachers, tmp_path: Path
) -> None:
    teachers.reply = classify
    write(tmp_path / "traces", many_banking_lines(), description=labelled())
    done = run(tmp_path, teachers, "process", "--data", "./traces", "--out", "bank")
    assert done.returncode == 0, done.stderr
    train, test = rows(tmp_path / "bank" / "train.jsonl"), rows(tmp_path / "bank" / "test.jsonl")
    assert len(train) + len(test) == 30
    assert {row["response"] for row in train + test} == {"balance", "transfer"}
    assert {body["model"] for body in teachers.requests} == COMMITTEE | {"openai.gpt-oss-120b"}

    status = json.loads(run(tmp_path, teachers, "status", "bank", "--output", "json").stdout)
    found = status["base_model_performance"]
    assert status["status"] == "JOB_SUCCESS"
    right = sum(row["response"] == row["metadata"]["original_response"] for row in test)
    assert found["accuracy"] == pytest.approx(right / len(test), abs=1e-6)
    assert set(found) == {"accuracy", *CLASSES}
    assert all(set(found[name]) == {"precision", "recall", "f1-score", "support"} for name in CLASSES)
    assert sum(found[name]["support"] for name in CLASSES) == len(test)
    report = json.loads((tmp_path / "bank" / "report.json").read_text())
    interval = report["base_model"]["test"]["intervals"]["accuracy"]
    assert 0 <= interval["low"] <= found["accuracy"] <= interval["high"] <= 1
    assert report["split"]["leakage"] == {"groups": 0, "exact": 0, "near": 0, "overlapping": 0}

    told = run(tmp_path, teachers, "predictions", "bank")
    assert told.stdout == "bank-traces-predictions.jsonl\n"
    lines = (tmp_path / "bank-traces-predictions.jsonl").read_text().splitlines()
    predictions = [json.loads(line) for line in lines]
    assert len(predictions) == len(test)
    by_row = {row["row_id"]: row for row in test}
    for line in predictions:
        row = by_row[line["row_id"]]
        assert (line["question"], line["answer"]) == (row["prompt"], row["response"])
        assert (line["prediction"], line["context"]) == (row["metadata"]["original_response"], None)
        assert line["accuracy"] == float(line["answer"] == line["prediction"])
    assert run(tmp_path, teachers, "predictions", "bank", "--file-name", "predictions.jsonl").returncode == 0
    assert (tmp_path / "predictions.jsonl").read_text().splitlines() == lines


def test_files_given_one_by_one_make_the_same_bytes_and_both_ways_at_once_are_refused(
    teachers: Teachers, tmp_path: Path
) -> None:
    teachers.reply = classify
    folder = write(tmp_path / "traces", many_banking_lines(), description=labelled())
    one_by_one = ["--traces", "traces/traces.jsonl", "--job-description", "traces/job_description.json"]
    one_by_one += ["--config", "traces/config.yaml"]
    assert run(tmp_path, teachers, "process", "--data", str(folder), "--out", "a").returncode == 0
    asked = len(teachers.requests)
    assert run(tmp_path, teachers, "process", *one_by_one, "--out", "b").returncode == 0
    assert len(teachers.requests) == asked
    made = [path.name for path in (tmp_path / "a").iterdir() if not path.name.startswith(".")]
    assert len(made) > 10
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in made)
    both = run(tmp_path, teachers, "process", "--data", "traces", *one_by_one, "--out", "c")
    assert both.returncode == 2
    assert "exactly one of --data DIR, --traces FILE" in both.stderr


def options(single_turn: bool | None = None, **changes: Any) -> str:
    settings = {"min_generated_examples": 1, "num_traces_as_testing_base": 0, **changes}
    if single_turn is not None:
        settings["convert_to_single_turn"] = single_turn
    return json.dumps({"base": {"task": "chat-completion"}, "trace_processing": settings})


def the_conversation() -> str:
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in CONVERSATION]})


def shown(row: Body) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row["messages"]]


def highlighted(row: Body) -> list[int]:
    weights = [position for position, message in enumerate(row["messages"]) if message.get("weight") == 1]
    assert weights == row["metadata"]["targets"]
    return weights


@pytest.mark.parametrize("setting", [True, None])
def test_each_turn_becomes_an_example_and_only_its_last_message_is_relabelled(
    teachers: Teachers, tmp_path: Path, setting: bool | None
) -> None:
    """Example 1 and 2 of the page; the setting is the default."""
    answers = {"What is my balance?": "Your balance is $1,234.", "Transfer $100 to savings.": "Done, $100 transferred."}
    teachers.reply = lambda body: {"content": answers[last_user(body)]}
    write(tmp_path / "traces", [the_conversation()], config=options(setting))
    assert run(tmp_path, teachers, "process", "--data", "traces", "--out", "same").returncode == 0
    first, second = rows(tmp_path / "same" / "train.jsonl")
    assert (shown(first), highlighted(first)) == (CONVERSATION[:3], [2])
    assert (shown(second), highlighted(second)) == (CONVERSATION, [4])

    teachers.reply = lambda _: {"content": "Relabelled."}
    changed = ["--out", "changed", "--data-dir", "other"]
    assert run(tmp_path, teachers, "process", "--data", "traces", *changed).returncode == 0
    first, second = rows(tmp_path / "changed" / "train.jsonl")
    assert shown(first) == [*CONVERSATION[:2], ("assistant", "Relabelled.")]
    assert shown(second) == [*CONVERSATION[:4], ("assistant", "Relabelled.")]


def test_the_full_conversation_is_preserved_and_its_replies_are_rewritten_together(
    teachers: Teachers, tmp_path: Path
) -> None:
    def rewrite(body: Body) -> Body:
        assert kind_of(body) == "tracemill_rewrite"
        replies = [one for one in data_of(body)["messages"] if one["role"] == "assistant"]
        anew = [{"position": one["position"], "content": one["content"].upper()} for one in replies]
        return {"content": json.dumps({"messages": anew})}

    teachers.reply = rewrite
    write(tmp_path / "traces", [the_conversation()], config=options(single_turn=False))
    assert run(tmp_path, teachers, "process", "--data", "traces", "--out", "whole").returncode == 0
    (row,) = rows(tmp_path / "whole" / "train.jsonl")
    assert shown(row) == [(role, text.upper() if role == "assistant" else text) for role, text in CONVERSATION]
    assert highlighted(row) == [2, 4]
    assert row["metadata"]["original_responses"] == [CONVERSATION[2][1], CONVERSATION[4][1]]


def test_the_weather_lines_call_is_the_target_and_its_result_trails(teachers: Teachers, tmp_path: Path) -> None:
    call = {"id": "x", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"London"}'}}
    teachers.reply = lambda _: {"content": None, "tool_calls": [call]}
    write(tmp_path / "traces", [WEATHER_LINE], config=options().replace("chat-completion", "tool-calling-closed-book"))
    assert run(tmp_path, teachers, "process", "--data", "traces", "--out", "tools").returncode == 0
    (row,) = rows(tmp_path / "tools" / "train.jsonl")
    recorded = json.loads(WEATHER_LINE)
    assert row["tools"] == recorded["tools"]
    assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]
    assert highlighted(row) == [2]
    (made,) = row["messages"][2]["tool_calls"]
    assert (made["id"], made["function"]["name"]) == ("call_1", "get_weather")
    assert json.loads(made["function"]["arguments"]) == {"city": "London"}
    report = json.loads((tmp_path / "tools" / "report.json").read_text())
    assert report["converted"]["trailing_messages"] == 1


def test_langfuse_observations_are_read_when_the_config_says_so(teachers: Teachers, tmp_path: Path) -> None:
    tool = json.loads(WEATHER_LINE)["tools"][0]
    asked = json.loads(WEATHER_LINE)["messages"][:2]
    observation = {
        "id": "obs-1",
        "input": asked,
        "output": [{"toolCallId": "call_1", "toolName": "get_weather", "input": {"city": "London"}}],
        "metadata": {"tools": [json.dumps(tool)]},
    }
    call = {"id": "x", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"London"}'}}
    teachers.reply = lambda _: {"content": None, "tool_calls": [call]}
    config = options(observation_format="langfuse").replace("chat-completion", "tool-calling-closed-book")
    write(tmp_path / "traces", [json.dumps(observation)], config=config)
    assert run(tmp_path, teachers, "process", "--data", "traces", "--out", "langfuse").returncode == 0
    (row,) = rows(tmp_path / "langfuse" / "train.jsonl")
    assert row["metadata"]["source_trace_id"] == "obs-1"
    assert (row["tools"], row["metadata"]["is_changed"]) == ([tool], False)

    write(tmp_path / "traces", [json.dumps(observation)], config=options())
    wrong = run(tmp_path, teachers, "process", "--data", "traces", "--out", "wrong")
    assert wrong.returncode == 1
    assert 'observation_format is "openai_messages": is that what the file holds?' in wrong.stderr


@pytest.mark.parametrize(
    ("name", "content", "kept"),
    [
        ("test_jsonl", '{"question":  "What is my balance?", "answer": "balance"}\n', None),
        (
            "test_csv",
            'question,answer\r\n"Say ""hello"",\nplease.",other\r\n',
            b'{"question":"Say \\"hello\\",\\nplease.","answer":"other"}\n',
        ),
    ],
)
def test_a_curated_test_set_is_used_as_it_is(
    teachers: Teachers, tmp_path: Path, name: str, content: str, kept: bytes | None
) -> None:
    teachers.reply = classify
    files = {name: content}
    write(tmp_path / "traces", many_banking_lines(), description=labelled(), **files)
    done = run(tmp_path, teachers, "process", "--data", "traces", "--out", "bank")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bank" / "test.jsonl").read_bytes() == (kept or content.encode())
    assert len(rows(tmp_path / "bank" / "train.jsonl")) == 30, "num_traces_as_testing_base has no effect"
    status = json.loads(run(tmp_path, teachers, "status", "bank", "--output", "json").stdout)
    assert (status["status"], status["base_model_performance"]) == ("JOB_SUCCESS", None)
    missing = run(tmp_path, teachers, "predictions", "bank")
    assert missing.returncode == 1
    assert "the base model was not scored" in missing.stderr
