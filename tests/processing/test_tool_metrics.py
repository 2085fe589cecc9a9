import pytest

from processing.tool_metrics import Call, ToolScores, calls_of, parse_calls, score_calls
from store.recorded.message import Json, Message, ToolCall

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "unit": {"type": "string", "default": "celsius"},
                    "options": {"type": "object", "properties": {"days": {"type": "integer", "default": 1}}},
                },
            },
        },
    }
]
LONDON = Call("get_weather", {"city": "London"})


def scores(
    prediction: list[Call] | None, reference: list[Call] | None
) -> tuple[float | None, float | None, float | None]:
    scored = score_calls(prediction, reference, TOOLS)
    return scored.equivalence, scored.binary, scored.staged


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (Call("get_weather", {"city": "London"}), (1, 1, 1)),
        (Call("get_weather", {"city": "London", "unit": "celsius"}), (1, 0, 0.5)),
        (Call("get_weather", {"city": "London", "unit": "kelvin"}), (0, 0, 0.5)),
        (Call("get_weather", {"city": "Paris"}), (0, 0, 0.75)),
        (Call("get_weather", {"town": "London"}), (0, 0, 0.5)),
        (Call("get_time", {"city": "London"}), (0, 0, 0.25)),
    ],
)
def test_one_call_against_one(prediction: Call, expected: tuple[float, float, float]) -> None:
    assert scores([prediction], [LONDON]) == expected


def test_nested_defaults_count_too() -> None:
    bare = Call("get_weather", {"options": {}})
    assert scores([bare], [Call("get_weather", {"options": {"days": 1}})])[0] == 1


def test_no_calls_on_either_side_is_agreement_and_on_one_side_is_not() -> None:
    assert scores([], []) == (1, 1, 1)
    assert scores([], [LONDON]) == scores([LONDON], []) == (0, 0, 0)


def test_what_cannot_be_read_is_marked() -> None:
    assert score_calls(None, [LONDON]) == ToolScores(0, 0, 0, is_unparsable=True)
    assert score_calls([LONDON], None) == ToolScores(None, None, None, is_unparsable=True)


def test_parallel_calls_are_a_multiset() -> None:
    paris = Call("get_weather", {"city": "Paris"})
    assert scores([paris, LONDON], [LONDON, paris]) == (1, 1, 1)
    assert scores([LONDON, LONDON], [LONDON, paris]) == (0, 0, 0.875)
    assert scores([LONDON], [LONDON, paris]) == (0, 0, 0.5)
    assert scores([Call("x", {}), paris], [paris, Call("y", {"a": 1})]) == (0, 0, 0.625)


@pytest.mark.parametrize(
    ("one", "other", "equal"), [(1, 1.0, True), (1, True, False), (0, False, False), ("1", 1, False)]
)
def test_numbers_are_equal_by_value_and_never_to_a_boolean(one: Json, other: Json, equal: bool) -> None:
    assert scores([Call("f", {"x": one})], [Call("f", {"x": other})])[1] == float(equal)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "get_weather", "parameters": {"city": "London"}}',
        '{"name": "get_weather", "arguments": "{\\"city\\": \\"London\\"}"}',
        '[{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "London"}}}]',
        'Sure.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "London"}}\n</tool_call>',
    ],
)
def test_calls_written_as_text_are_read(text: str) -> None:
    assert parse_calls(text) == [LONDON]
    assert calls_of(Message("assistant", text)) == [LONDON]


def test_plain_text_is_no_call_and_broken_arguments_cannot_be_read() -> None:
    assert calls_of(Message("assistant", "It is cloudy.")) == []
    assert calls_of(Message("assistant", None, (ToolCall("f", '{"a":1}{"b":2}'),))) is None
    assert calls_of(Message("assistant", "<tool_call>{</tool_call>")) is None
    assert calls_of(Message("assistant", None, (ToolCall("f", ""),))) == [Call("f", {})]
