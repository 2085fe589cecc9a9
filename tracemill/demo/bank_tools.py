"""The bank's tools: what an application would offer the model, and what it does when the model calls one.

The bank is a stage set. Its accounts never change, so a demo gives the same conversations every time.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

ACCOUNTS = {"checking": 1234.56, "savings": 8400.0, "credit card": -312.4}
CARDS = {"debit": "4417", "credit": "9032"}
TRANSACTIONS = (
    ("2026-03-02", "Grocer on Mill Street", -54.2),
    ("2026-03-01", "Salary", 2650.0),
    ("2026-02-27", "City Transit", -18.0),
    ("2026-02-26", "Water works", -41.75),
    ("2026-02-25", "Book shop", -23.9),
    ("2026-02-24", "Pharmacy", -12.3),
)


def _function(name: str, description: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


_ACCOUNT = {"type": "string", "enum": list(ACCOUNTS)}

TOOLS: list[dict[str, Any]] = [
    _function("get_balance", "Get the balance of one account", {"account": _ACCOUNT}, ["account"]),
    _function(
        "transfer_money",
        "Move money between the customer's own accounts",
        {
            "amount": {"type": "number", "description": "US dollars, above zero"},
            "from_account": _ACCOUNT,
            "to_account": _ACCOUNT,
        },
        ["amount", "from_account", "to_account"],
    ),
    _function(
        "freeze_card",
        "Freeze a card at once",
        {
            "card": {"type": "string", "enum": list(CARDS)},
            "reason": {"type": "string", "enum": ["lost", "stolen", "other"], "default": "other"},
        },
        ["card"],
    ),
    _function(
        "list_transactions",
        "List the latest transactions of one account, newest first",
        {"account": _ACCOUNT, "limit": {"type": "integer", "minimum": 1, "maximum": 20, "default": 5}},
        ["account"],
    ),
]
"""The tool definitions, in the OpenAI function-calling format."""


def run_tool(name: str, arguments: str) -> str:
    """Run one tool call as the demo's application does.

    Args:
        name: The tool the model named.
        arguments: The arguments as the model wrote them; any text.

    Returns:
        The tool's result as JSON text. A call that makes no sense gives `{"error": ...}`, as a real tool would.
    """
    try:
        given = json.loads(arguments)
        return json.dumps(_TOOLS[name](given))
    except (ValueError, KeyError, TypeError) as error:
        return json.dumps({"error": f"{name}: {type(error).__name__}: {error}"})


def _get_balance(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"account": given["account"], "balance": ACCOUNTS[given["account"]], "currency": "USD"}


def _transfer_money(given: Mapping[str, Any]) -> dict[str, Any]:
    amount, source, target = float(given["amount"]), given["from_account"], given["to_account"]
    if amount > ACCOUNTS[source]:
        return {"status": "refused", "reason": "not enough money", "amount": amount, "from_account": source}
    return {"status": "done", "amount": amount, "from_account": source, "to_account": target}


def _freeze_card(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"status": "frozen", "card": given["card"], "last4": CARDS[given["card"]]}


def _list_transactions(given: Mapping[str, Any]) -> dict[str, Any]:
    ACCOUNTS[given["account"]]
    rows = TRANSACTIONS[: int(given.get("limit", 5))]
    return {
        "account": given["account"],
        "transactions": [{"date": day, "description": text, "amount": amount} for day, text, amount in rows],
    }


_TOOLS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "get_balance": _get_balance,
    "transfer_money": _transfer_money,
    "freeze_card": _freeze_card,
    "list_transactions": _list_transactions,
}
