import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processing.agreement import Method, agree
from processing.answer_form import Answers, Form, canonical, gram_f, similarity
from store.recorded.message import Message, ToolCall

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["London", "Paris", "Rome"]},
                "unit": {"type": "string", "default": "C"},
                "note": {"type": "string"},
                "days": {"type": ["integer", "null"]},
            },
            "required": ["city"],
        },
    },
}
TOOLS = Form(tools=[WEATHER])
TEXT = Form()


def text(said: str) -> Answers:
    return (Message("assistant", said),)


def call(name: str = "weather", **arguments: Any) -> Answers:
    return (Message("assistant", None, (ToolCall(name, json.dumps(arguments)),)),)


def arguments_of(answers: Answers | None) -> Any:
    assert answers is not None
    return json.loads(answers[0].tool_calls[0].arguments)


def test_equal_answers_are_unanimous() -> None:
    assert agree([text(" yes "), text("yes")], TEXT).method is Method.UNANIMOUS


def test_defaults_nulls_order_and_ids_do_not_make_calls_differ() -> None:
    one = (Message("assistant", "", (ToolCall("weather", '{"unit":"C","city":"Rome","days":null}', "x"),)),)
    assert canonical(one, TOOLS) == canonical(call(city="Rome"), TOOLS)
    assert agree([one, call(city="Rome")], TOOLS).score == 1.0


def test_labels_are_voted_on() -> None:
    found = agree([text("a"), text("b"), text("a")], Form(classes=["a", "b"]))
    assert (found.method, found.score, found.label) == (Method.VOTE, pytest.approx(2 / 3), text("a"))


def test_arguments_are_voted_on_one_by_one() -> None:
    candidates = [
        call(city="Rome", unit="F", note="please be brief"),
        call(city="Paris", unit="C", note="please be brief"),
        call(city="Rome", unit="C", note="do be brief"),
    ]
    found = agree(candidates, TOOLS)
    assert found.method is Method.ARGUMENTS
    assert arguments_of(found.label) == {"city": "Rome", "unit": "C", "note": "please be brief"}


def test_another_tool_or_text_instead_of_a_call_lowers_the_agreement() -> None:
    found = agree([call(city="Rome"), call(city="Rome"), text("I cannot"), call("other", city="Rome")], TOOLS)
    assert found.score == pytest.approx(0.5)


def test_a_tool_that_is_called_twice_is_voted_on_as_a_whole() -> None:
    def twice(first: str, second: str) -> Answers:
        return (Message("assistant", None, call(city=first)[0].tool_calls + call(city=second)[0].tool_calls),)

    found = agree([twice("Rome", "Paris"), twice("Paris", "Rome"), twice("Rome", "Rome")], TOOLS)
    assert (found.method, found.score) == (Method.VOTE, pytest.approx(2 / 3))
    assert found.label in (twice("Rome", "Paris"), twice("Paris", "Rome"))


def test_fields_are_merged_only_into_what_the_schema_allows() -> None:
    schema = {"type": "object", "oneOf": [{"properties": {"a": {"const": n}, "b": {"const": n}}} for n in (1, 2, 3)]}
    values = [{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 1, "b": 1}, {"a": 3, "b": 3}]
    found = agree([text(json.dumps(value)) for value in values], Form(is_json=True, schema=schema))
    assert found.label is not None
    assert json.loads(str(found.label[0].content)) == {"a": 1, "b": 1}


def test_free_text_takes_the_one_in_the_middle_and_leaves_two_to_the_arbiter() -> None:
    near = [text("Your balance is 10 pounds."), text("The balance is 10 pounds."), text("Your balance: 10 pounds.")]
    found = agree([*near, text("Ask elsewhere, please")], TEXT)
    assert found.method is Method.MEDOID
    assert found.label in near
    assert agree(near[:2], TEXT).label is None


def test_whole_conversations_are_taken_whole() -> None:
    one, two = (*text("Hello there"), *call(city="Rome")), (*text("Hello there!"), *call(city="Rome"))
    found = agree([one, two, (*text("No"), *text("No"))], TOOLS)
    assert found.label in (one, two)


@given(st.text(), st.text())
def test_similarity_is_symmetric_and_1_for_the_same(one: str, two: str) -> None:
    assert gram_f(one, two) == gram_f(two, one)
    assert gram_f(one, one) == 1.0
    assert 0.0 <= gram_f(one, two) <= 1.0
    assert similarity(text(one)[0], text(one)[0], TEXT) == 1.0


@given(
    st.lists(
        st.builds(
            lambda city, note: call(city=city, **({"note": note} if note else {})),
            st.sampled_from(["Rome", "Paris", "London"]),
            st.sampled_from([None, "soon", "sooner", "later"]),
        )
        | st.builds(text, st.sampled_from(["yes", "no", "maybe so", "maybe not"])),
        min_size=2,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_candidates_never_matters(candidates: list[Answers], dice: random.Random) -> None:
    shuffled = list(candidates)
    dice.shuffle(shuffled)
    found, again = agree(candidates, TOOLS), agree(shuffled, TOOLS)
    assert (found.method, found.score) == (again.method, again.score)
    assert 0.0 <= found.score <= 1.0
    if found.label is not None and again.label is not None:
        assert canonical(found.label, TOOLS) == canonical(again.label, TOOLS)


def test_a_label_by_weight_may_be_that_of_the_fewer() -> None:
    form = Form(classes=["a", "b", "c"])
    found = agree([text("a"), text("b"), text("b")], form, [0.95, 0.5, 0.5])
    assert (found.method, found.label, found.score) == (Method.VOTE, text("a"), pytest.approx(1 / 3))
    assert found.confidence == found.sureness == pytest.approx(19 * 2 / (19 * 2 + 2 * 2 + 1))
    again = agree([text("b"), text("a"), text("b")], form, [0.5, 0.95, 0.5])
    assert (again.label, again.confidence) == (found.label, found.confidence)


def test_all_of_one_mind_are_unanimous_also_by_weight() -> None:
    found = agree([text("a"), text("A ")], Form(classes=["a", "b"]), [0.6, 0.6])
    assert (found.method, found.score) == (Method.UNANIMOUS, 1.0)
    assert found.confidence == pytest.approx(0.36 / (0.36 + 0.16))


def test_json_text_fields_need_not_be_word_for_word_the_same() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "note": {"type": "string"}}}
    notes = ["please bring a warm coat", "please bring a warm coat!", "do bring a warm coat"]
    values = [{"city": "Rome", "note": note} for note in notes]
    loose = agree([text(json.dumps(value)) for value in values], Form(is_json=True, schema=schema))
    strict = agree([text(json.dumps(value)) for value in values], Form(is_json=True))
    assert loose.score > 0.85 > strict.score


@pytest.mark.parametrize("name", ["id", "order_id", "orderId", "userID", "api_key"])
def test_names_of_things_are_the_same_or_not(name: str) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string"}}}
    values = [text(json.dumps({name: f"order number {n} of the year"})) for n in range(3)]
    assert agree(values, Form(is_json=True, schema=schema)).score == pytest.approx(1 / 3)


def test_single_words_are_the_same_or_not() -> None:
    form = Form(is_json=True, schema={"type": "object", "properties": {"code": {"type": "string"}}})
    values = [text(json.dumps({"code": code})) for code in ("A-10027", "A-10028", "A-10029")]
    assert agree(values, form).score == pytest.approx(1 / 3)
