"""The short way of reading an ordinary chat call comes to the same as the long one."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.assembly.chat_value import read_completion_value, read_request_value
from proxy.assembly.completion import MAX_CHOICES, read_completion
from proxy.assembly.request import MAX_MESSAGES, read_chat_request
from store import json_text

_TEXT = st.text(st.sampled_from('ab "\\\n\x00\x7fé漢🙂\u2028'), max_size=3)
_ODD = st.sampled_from(
    [None, True, False, 0, -1, 1, 2**31, 2**63, 0.0, 1.5, "", "a", [], {}, [[]], [{}], [1], {"a": 1}]
)
_VALUES = _ODD | _TEXT | st.lists(_ODD, max_size=3) | st.dictionaries(_TEXT, _ODD, max_size=3)
_FUNCTIONS = st.dictionaries(st.sampled_from(["name", "arguments"]), _VALUES | st.just("{}"))
_CALLS = st.lists(st.fixed_dictionaries({}, optional={"id": _VALUES, "function": _FUNCTIONS | _VALUES}), max_size=2)
_MESSAGE = st.fixed_dictionaries(
    {}, optional={"role": _VALUES, "content": _VALUES, "tool_calls": _CALLS | _VALUES, "function_call": _FUNCTIONS}
)
_CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 3) | _ODD,
        "message": _MESSAGE | _VALUES,
        "text": _TEXT | _VALUES,
        "finish_reason": st.just("stop") | _VALUES,
        "logprobs": _VALUES,
    },
)
_SOUND_CHOICE = st.fixed_dictionaries(
    {"index": st.integers(0, 3), "message": st.fixed_dictionaries({"content": _TEXT})}
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(_MESSAGE | _VALUES, max_size=3) | st.lists(_MESSAGE, max_size=3) | _VALUES,
        **dict.fromkeys(("model", "tools", "response_format", "metadata", "user", "stream", "store", "é\x00"), _VALUES),
    },
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(_SOUND_CHOICE, max_size=3)
        | st.lists(_CHOICE, max_size=3)
        | st.lists(_CHOICE | _ODD)
        | _VALUES,
        **dict.fromkeys(("id", "model", "system_fingerprint", "usage", "error", "other"), _VALUES),
    },
)


def written(value: object) -> tuple[bytes, dict[str, object]]:
    """Write an object as its exact value does."""
    text, exact = json_text.compact_value(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    assert isinstance(exact, dict), "no text that the short way is for"
    return text, exact


@settings(max_examples=600)
@given(REQUESTS)
def test_a_request_is_the_same_either_way(request: dict[str, object]) -> None:
    text, value = written(request)
    assert read_request_value(value) == read_chat_request(json_text.members(text))
    assert json_text.exact_value(text) == value, "reading it must not change it"


@settings(max_examples=600)
@given(ANSWERS)
def test_an_answer_is_the_same_either_way(answer: dict[str, object]) -> None:
    text, value = written(answer)
    assert read_completion_value(value) == read_completion(text)
    assert json_text.exact_value(text) == value, "reading it must not change it"


def test_the_bounds_are_the_same_either_way() -> None:
    for count in (MAX_MESSAGES, MAX_MESSAGES + 1):
        text, value = written({"messages": [{}] * count})
        request = read_request_value(value)
        assert request == read_chat_request(json_text.members(text))
        assert len(request.messages) == (count if count == MAX_MESSAGES else 0)
    for count in (MAX_CHOICES, MAX_CHOICES + 1):
        text, value = written({"choices": [{"message": {}}] * count})
        completion = read_completion_value(value)
        assert completion == read_completion(text)
        assert len(completion.replies) == (count if count == MAX_CHOICES else 0)
