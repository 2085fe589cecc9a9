import json
from typing import Any

import pytest

from tracemill.demo.bank import OFF_TOPIC_REPLY, reply_to
from tracemill.demo.bank_tools import TOOLS, run_tool
from tracemill.demo.mistakes import Mistake, mistake_for, spoil


def user(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text} for text in texts]


def calls(reply: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (call["function"]["name"], json.loads(call["function"]["arguments"])) for call in reply.get("tool_calls") or []
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is my account balance?", [("get_balance", {"account": "checking"})]),
        (
            "Transfer $1,250.50 to savings.",
            [("transfer_money", {"amount": 1250.5, "from_account": "checking", "to_account": "savings"})],
        ),
        (
            "Move $20 from savings to checking.",
            [("transfer_money", {"amount": 20, "from_account": "savings", "to_account": "checking"})],
        ),
        ("I lost my debit card!", [("freeze_card", {"card": "debit", "reason": "lost"})]),
        ("Show me the last 3 transactions.", [("list_transactions", {"account": "checking", "limit": 3})]),
    ],
)
def test_a_request_becomes_the_tool_call_a_person_would_expect(text: str, expected: list[Any]) -> None:
    assert calls(reply_to(user(text), TOOLS)) == expected


def test_two_things_asked_at_once_are_parallel_calls_with_ids_of_their_own() -> None:
    reply = reply_to(user("Show me the balances of both accounts."), TOOLS)
    assert calls(reply) == [("get_balance", {"account": "checking"}), ("get_balance", {"account": "savings"})]
    assert len({call["id"] for call in reply["tool_calls"]}) == 2


def test_results_are_told_in_the_order_of_their_calls() -> None:
    messages = user("Show me the balances of both accounts.")
    reply = reply_to(messages, TOOLS)
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": run_tool("get_balance", call["function"]["arguments"])}
        for call in reply["tool_calls"]
    ]
    told = reply_to([*messages, reply, *results], TOOLS)
    assert told["content"] == "Your checking balance is $1,234.56. Your savings balance is $8,400.00."


def test_an_amount_given_later_completes_the_transfer_asked_for_before() -> None:
    messages = user("I'd like to move money to checking.")
    asked = reply_to(messages, TOOLS)
    assert asked["content"] == "How much would you like to transfer?"
    reply = reply_to([*messages, asked, *user("$300")], TOOLS)
    assert calls(reply) == [
        ("transfer_money", {"amount": 300, "from_account": "savings", "to_account": "checking"}),
    ]


def test_a_tool_that_is_not_on_offer_is_not_called() -> None:
    reply = reply_to(user("What is my balance?"), [])
    assert "tool_calls" not in reply
    assert reply["content"]


@pytest.mark.parametrize("text", ["Write me a poem about the sea.", "Who won the football match last night?"])
def test_off_topic_is_declined(text: str) -> None:
    assert reply_to(user(text), TOOLS)["content"] == OFF_TOPIC_REPLY


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("get_balance", "{"), ("get_balance", '{"account": "moon"}'), ("rob_bank", "{}"), ("transfer_money", "[]")],
)
def test_a_senseless_tool_call_gives_an_error_result(name: str, arguments: str) -> None:
    assert "error" in json.loads(run_tool(name, arguments))


def test_mistakes_come_at_about_the_rate_asked_for_and_the_same_each_time() -> None:
    reply = {"role": "assistant", "content": "Your checking balance is $1,234.56."}
    made = [mistake_for(reply, rate=0.25, key=number) for number in range(400)]
    assert 70 <= sum(mistake is not None for mistake in made) <= 130
    assert set(made) == {None, Mistake.UNHELPFUL, Mistake.CURT, Mistake.WRONG_FIGURE}
    assert made == [mistake_for(reply, rate=0.25, key=number) for number in range(400)]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Transfer $100 to savings.", {"amount": 1000, "from_account": "checking", "to_account": "savings"}),
        ("What is my balance?", {"account": "savings"}),
        ("I lost my debit card", {"card": "credit", "reason": "lost"}),
    ],
)
def test_a_wrong_argument_is_still_a_valid_call(text: str, wrong: dict[str, Any]) -> None:
    reply = reply_to(user(text), TOOLS)
    assert mistake_for(reply, rate=1.0, key=0) is Mistake.WRONG_ARGUMENT
    before = json.dumps(reply)
    [(_, arguments)] = calls(spoil(reply, Mistake.WRONG_ARGUMENT))
    assert arguments == wrong
    assert json.dumps(reply) == before


def test_a_wrong_figure_differs_from_the_right_one() -> None:
    reply = {"role": "assistant", "content": "Your checking balance is $1,234.56."}
    assert spoil(reply, Mistake.WRONG_FIGURE)["content"] == "Your checking balance is $1,241.56."
