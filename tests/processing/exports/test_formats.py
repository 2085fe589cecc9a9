"""What each format makes of a row; the forms are those that the readers document."""

import base64
import json
from typing import Any

import pytest

from processing.datasets.row_form import row_of
from processing.exports.converted import Converted
from processing.exports.formats import FORMATS
from processing.exports.image import Image
from processing.exports.reason import NotCarried
from tests.processing.exports.versions import (
    call,
    calls,
    data_url,
    made,
    picture,
    png,
    result,
    says,
    system,
    telling_rows,
    tool,
    user,
)

WEATHER = tool("get", place={"type": "string"})


def converted(name: str, row: dict[str, Any]) -> Converted:
    return FORMATS[name].convert(row)


def lines(name: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    return list(converted(name, row).lines)


def spoken() -> dict[str, Any]:
    """Two answers, the first of which is history."""
    return made(system("Be brief."), user("one"), says("1", 0), user("two"), says("2"))


def called() -> dict[str, Any]:
    """A call, its result and an answer, both learned."""
    return made(
        user("weather?"),
        calls(call("get", '{"place": "Oslo"}')),
        result("cold"),
        says("Cold."),
        tools=[WEATHER],
        source_trace_ids=["t1", "t2"],
    )


def test_openai_holds_the_whole_with_its_weights_and_arguments_as_text() -> None:
    (line,) = lines("openai", called())

    assert line == {
        "messages": [
            {"role": "user", "content": "weather?"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "get", "arguments": '{"place": "Oslo"}'}}
                ],
                "weight": 1,
            },
            {"role": "tool", "content": "cold", "tool_call_id": "c1"},
            {"role": "assistant", "content": "Cold.", "weight": 1},
        ],
        "tools": [WEATHER],
    }
    assert [message.get("weight") for message in lines("openai", spoken())[0]["messages"]] == [None, None, 0, None, 1]


def test_openai_leaves_behind_fields_that_make_it_refuse_a_file_and_says_so() -> None:
    row = made(user("q"), says("a", reasoning_content="because", annotations=[1]), response_format={"type": "text"})

    found = converted("openai", row)

    assert found.lines[0]["messages"][1] == {"role": "assistant", "content": "a", "weight": 1}
    assert found.lost == {NotCarried.REASONING, NotCarried.MESSAGE_FIELDS, NotCarried.RESPONSE_FORMAT}


def test_calls_without_an_id_get_one_where_openai_refuses_them() -> None:
    bare = {"type": "function", "function": {"name": "get", "arguments": "{}"}}
    row = made(user("q"), calls(bare), {"role": "tool", "content": "x"}, calls(bare, call("b", "{}", "own")),
               result("y", "own"), {"role": "tool", "content": "z"}, says("a"))  # fmt: skip

    messages = lines("openai", row)[0]["messages"]

    made_ids = [one["id"] for message in messages for one in message.get("tool_calls", [])]
    answered = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert made_ids == ["call_1_0", "call_3_0", "own"]
    assert answered == ["call_1_0", "own", "call_3_0"]


def test_trl_has_a_line_for_each_learned_answer_with_arguments_as_objects() -> None:
    first, second = lines("trl", called())

    assert first["prompt"] == [{"role": "user", "content": "weather?"}]
    assert first["completion"][0]["tool_calls"][0]["function"]["arguments"] == {"place": "Oslo"}
    assert second["completion"] == [{"role": "assistant", "content": "Cold."}]
    assert [message["role"] for message in second["prompt"]] == ["user", "assistant", "tool"]
    assert first["tools"] == second["tools"] == [WEATHER]
    (line,) = lines("trl", spoken())
    assert [message["content"] for message in line["prompt"]] == ["Be brief.", "one", "1", "two"]
    (whole,) = lines("trl-messages", called())
    assert [message["role"] for message in whole["messages"]] == ["user", "assistant", "tool", "assistant"]


def test_pictures_go_to_a_column_of_their_own_for_trl_and_into_files_for_llama_factory() -> None:
    row = made(user([{"type": "text", "text": "see "}, picture(png())]), says("red"))

    (line,) = lines("trl", row)
    shown = converted("sharegpt", row)

    assert line["prompt"] == [{"role": "user", "content": [{"type": "text", "text": "see "}, {"type": "image"}]}]
    assert [image.content for image in line["images"]] == [png()]
    (name,) = shown.lines[0]["images"]
    assert shown.lines[0]["conversations"][0] == {"from": "human", "value": "see <image>"}
    assert shown.images == {name: Image(png(), name.removeprefix("images/"))}
    assert lines("openai", row)[0]["messages"][0]["content"][1] == picture(png())
    assert lines("axolotl", row)[0]["messages"][0]["content"][1] == {
        "type": "image",
        "base64": base64.b64encode(png()).decode(),
    }


def test_distil_writes_a_call_as_name_and_parameters_and_more_than_one_message_as_text() -> None:
    first, second = lines("distil", called())

    assert first == {"question": "weather?", "answer": '{"name":"get","parameters":{"place":"Oslo"}}'}
    assert second["answer"] == "Cold."
    assert [message["role"] for message in json.loads(second["question"])] == ["user", "assistant", "tool"]
    assert lines("distil", made(system("Be brief."), user("q"), says("a"))) == [{"question": "q", "answer": "a"}]
    *_, last = lines("distil-messages", called())[0]["messages"]
    assert last["content"] == ""
    assert last["tool_calls"][0]["function"]["arguments"] == {"place": "Oslo"}


def test_sharegpt_has_turns_strictly_in_order_and_ends_with_the_answer_that_is_learned() -> None:
    first, second = lines("sharegpt", called())

    assert first["conversations"] == [
        {"from": "human", "value": "weather?"},
        {"from": "function_call", "value": '{"name":"get","arguments":{"place":"Oslo"}}'},
    ]
    assert [turn["from"] for turn in second["conversations"]] == ["human", "function_call", "observation", "gpt"]
    assert json.loads(second["tools"]) == [WEATHER]
    assert lines("sharegpt", spoken())[0]["system"] == "Be brief."
    both = made(user("q"), calls(call("a", "{}"), call("b", '{"x": 1}', "c2")))
    assert json.loads(lines("sharegpt", both)[0]["conversations"][1]["value"]) == [
        {"name": "a", "arguments": {}},
        {"name": "b", "arguments": {"x": 1}},
    ]


def llama_factory_takes(line: dict[str, Any]) -> bool:
    """The rules of LLaMA-Factory's converter: https://github.com/hiyouga/LLaMA-Factory, data/README.md."""
    turns = line["conversations"]
    odd, even = {"human", "observation"}, {"gpt", "function_call"}
    in_turn = all(turn["from"] in (even if at % 2 else odd) for at, turn in enumerate(turns))
    calls_read = all("name" in one for turn in turns if turn["from"] == "function_call" for one in _listed(turn))
    marks = sum(turn["value"].count("<image>") for turn in turns) + line["system"].count("<image>")
    texts = all(isinstance(turn["value"], str) for turn in turns)
    fields = isinstance(line["system"], str) and isinstance(line["tools"], str)
    return in_turn and len(turns) % 2 == 0 and calls_read and texts and fields and marks == len(line.get("images", []))


def _listed(turn: dict[str, str]) -> list[dict[str, Any]]:
    found = json.loads(turn["value"])
    return found if isinstance(found, list) else [found]


def axolotl_takes(line: dict[str, Any]) -> bool:
    """The rules of axolotl's `chat_template`: https://docs.axolotl.ai/docs/dataset-formats/conversation.html."""
    roles = {"system", "user", "assistant", "tool", "developer"}
    called_with = [
        json.loads(one["function"]["arguments"])
        for message in line["messages"]
        for one in message.get("tool_calls", [])
    ]
    return (
        all(message["role"] in roles and isinstance(message["train"], bool) for message in line["messages"])
        and all(isinstance(arguments, dict) for arguments in called_with)
        and isinstance(json.loads(line.get("tools", "[]")), list)
    )


def openai_takes(line: dict[str, Any]) -> bool:
    """The rules of OpenAI's files: https://platform.openai.com/docs/api-reference/fine-tuning/chat-input."""
    fields = {"role", "content", "name", "weight", "tool_calls", "tool_call_id", "refusal"}
    known = line.keys() <= {"messages", "tools", "parallel_tool_calls"}
    weights = [message.get("weight") for message in line["messages"] if message["role"] == "assistant"]
    return (
        known
        and all(message.keys() <= fields for message in line["messages"])
        and all(weight in (0, 1) for weight in weights)
        and 1 in weights
        and all("content" in message or message.get("tool_calls") for message in line["messages"])
        and all(
            isinstance(one["function"]["arguments"], str)
            for message in line["messages"]
            for one in message.get("tool_calls", [])
        )
    )


@pytest.mark.parametrize(
    ("name", "takes"), [("sharegpt", llama_factory_takes), ("axolotl", axolotl_takes), ("openai", openai_takes)]
)
def test_what_cannot_be_run_here_takes_every_line_by_its_documented_rules(name: str, takes: Any) -> None:
    rows = [*telling_rows(), spoken(), called(), made(user(["see", picture(png())]), says("red"))]
    rows = [row for row in rows if name != "sharegpt" or "@later" not in row["response"]]

    written = [line for row in rows for line in lines(name, row)]

    assert len(written) >= len(rows)
    assert [line for line in written if not takes(line)] == []


def test_axolotl_says_of_each_message_whether_it_is_learned() -> None:
    (line,) = lines("axolotl", spoken())

    assert [message["train"] for message in line["messages"]] == [False, False, False, False, True]
    assert json.loads(lines("axolotl", called())[0]["tools"]) == [WEATHER]


def test_preferences_pair_the_label_with_the_recorded_answer() -> None:
    votes = [{"source": "original", "answer": [calls(call("get", '{"place": "Rome"}'))]}]
    row = made(user("weather?"), calls(call("get", '{"place": "Oslo"}')), tools=[WEATHER], votes=votes)
    plain = made(user("q"), says("good"), original_response="bad")

    (line,) = lines("dpo", row)

    assert line["chosen"][0]["tool_calls"][0]["function"]["arguments"] == {"place": "Oslo"}
    assert line["rejected"][0]["tool_calls"][0]["function"]["arguments"] == {"place": "Rome"}
    assert lines("dpo", plain)[0]["rejected"] == [{"role": "assistant", "content": "bad"}]
    assert lines("openai-dpo", plain) == [
        {
            "input": {"messages": [{"role": "user", "content": "q"}]},
            "preferred_output": [{"role": "assistant", "content": "good"}],
            "non_preferred_output": [{"role": "assistant", "content": "bad"}],
        }
    ]


def test_a_recorded_answer_in_text_is_a_call_only_when_its_tool_is_offered() -> None:
    text = '{"name": "get", "arguments": {"place": "Rome"}}'
    offered = made(user("w"), calls(call("get", "{}")), tools=[WEATHER], original_response=text)
    spoken_text = made(user("w"), says("no"), original_response=text)

    assert lines("dpo", offered)[0]["rejected"][0]["tool_calls"][0]["function"]["arguments"] == {"place": "Rome"}
    assert lines("dpo", spoken_text)[0]["rejected"][0]["content"] == text


def test_only_answers_with_the_recorded_history_are_paired() -> None:
    row = made(user("a"), says("same"), user("b"), says("new"), user("c"), says("newer"),
               original_responses=["same", "old", "older"])  # fmt: skip

    found = converted("dpo", row)

    assert [line["rejected"][0]["content"] for line in found.lines] == ["old"]
    assert NotCarried.ANSWERS in found.lost


def test_opentracys_row_has_its_five_metadata_for_each_answer() -> None:
    row = made(user("q"), says("a"), source_trace_id="t_af91", teacher_models=["m"], judge_score=0.92, cluster_id=34,
               tags=["reviewed"], agreement=1.0)  # fmt: skip

    (line,) = lines("opentracy", row)
    two = lines("opentracy", called())

    assert line == {
        "row_id": row["row_id"],
        "prompt": "q",
        "response": "a",
        "metadata": {
            "source_trace_id": "t_af91",
            "teacher_model": "m",
            "judge_score": 0.92,
            "cluster_id": 34,
            "tags": ["reviewed"],
        },
    }
    assert [line["metadata"]["source_trace_id"] for line in two] == ["t1", "t2"]
    assert len({line["row_id"] for line in two}) == 2


def test_traces_hold_what_was_sent_and_said_and_name_where_it_came_from() -> None:
    row = made(user("q"), says("a"), response_format={"type": "json_object"}, source_trace_id="t1")

    (line,) = lines("traces", row)

    assert line == {
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
        "response_format": {"type": "json_object"},
        "metadata": {"trace_id": "t1", "row_id": row["row_id"]},
    }


def test_rows_and_tables_hold_the_row_as_it_is() -> None:
    row = row_of([user(data_url(png())), says("a")], metadata={"any": {"thing": [1, None]}})
    row["relabel__trace"] = [{"role": "user", "content": "q"}]

    for name in ("rows", "csv", "parquet", "hf"):
        assert lines(name, row) == [row]
