"""A small rule-based banking assistant: what a good answer is, in every conversation of the demo.

It is a pure function of the conversation: the same messages and tools always get the same reply. The scripted models
all answer through it and differ in manners (`style`) and in the mistakes they make on purpose (`mistakes`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from tracemill.demo.bank_tools import ACCOUNTS, CARDS
from tracemill.demo.digest import digest

Message = Mapping[str, Any]


class Intent(StrEnum):
    """What a customer wants with one message."""

    FREEZE = "freeze_card"
    TRANSFER = "transfer"
    BALANCE = "balance"
    TRANSACTIONS = "transactions"
    FEES = "fees"
    PRODUCTS = "products"
    SMALL_TALK = "small_talk"
    OFF_TOPIC = "off_topic"


class ToolCall(NamedTuple):
    """A tool call the assistant wants made; the id is added by `reply_to`."""

    name: str
    arguments: dict[str, Any]


_PATTERNS: tuple[tuple[Intent, str], ...] = (
    (Intent.FREEZE, r"\b(freeze|lost|stolen|block)\b"),
    (Intent.FEES, r"\b(fees?|charges?|costs?)\b"),
    (Intent.TRANSFER, r"\b(transfer|move|send)\b"),
    (Intent.TRANSACTIONS, r"\b(transactions?|spen[dt]|spending|purchases|payments)\b"),
    (Intent.PRODUCTS, r"\b(mortgage|loan|interest|open|overdraft|cheque|credit limit|terms)\b"),
    (Intent.BALANCE, r"\b(balances?|how much (do i have|is in|money)|checking|savings|credit card)\b"),
    (Intent.SMALL_TALK, r"\b(hello|hi|thanks|thank you|good morning|bye|great|perfect)\b"),
)
_AMOUNT = re.compile(r"\$?\s?(\d[\d,]*(?:\.\d{1,2})?)")
_ASKS_AMOUNT = "How much would you like to transfer?"

_FEES = {
    "overdraft": "An overdraft costs $12 for each day your account is below zero, at most $36 a month.",
    "wire": "A wire transfer costs $15 inside the country and $30 abroad.",
    "card": "Your debit card is free. The credit card costs $40 a year, and cash from a machine costs 2%.",
}
_ALL_FEES = "Checking and savings accounts have no monthly fee. " + " ".join(_FEES.values())
_PRODUCTS = {
    "mortgage": "Our mortgages start at 5.9% for 15 years. With 20% of your own money you need no insurance.",
    "loan": "Personal loans run from $1,000 to $40,000 over one to six years, from 8.4% a year.",
    "interest": "Savings earn 3.1% a year, paid on the first of each month.",
    "open": "You can open another account in the app under Accounts, Add. It takes about five minutes.",
    "overdraft": "You can ask for an overdraft of up to $1,000 in the app; it is decided the same day.",
    "cheque": "You can pay in a cheque by photo in the app; the money is there after two working days.",
    "credit limit": "Your credit limit is $4,000. You can ask for a higher one once every six months.",
    "terms": " ".join(
        f"Clause {number}: the bank keeps its part of clause {number} and the customer keeps theirs."
        for number in range(1, 41)
    ),
}
OFF_TOPIC_REPLY = "I can only help with your accounts, transactions and our banking products."


def reply_to(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Answer a conversation as a good assistant would.

    Args:
        messages: An OpenAI `messages` array; system messages are read for nothing.
        tools: The tools on offer. A tool that is not on offer is never called; the answer then says where to look.

    Returns:
        An assistant message: `content` text, or `content` null and `tool_calls` (several at once where the customer
        asked for several things). Ids of tool calls derive from the conversation, so they repeat with it.
    """
    results = _open_results(messages)
    if results:
        return {"role": "assistant", "content": " ".join(_tell(name, result) for name, result in results)}
    text = last_user_text(messages)
    calls = [call for call in _wanted_calls(text, messages) if call.name in _names(tools)]
    if not calls:
        return {"role": "assistant", "content": _say(text)}
    seed = digest(messages)
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"call_{seed:016x}{index}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for index, call in enumerate(calls)
        ],
    }


def intent_of(text: str) -> Intent:
    """Tell what a customer's message is about; the first rule that matches decides."""
    lowered = text.lower()
    for intent, pattern in _PATTERNS:
        if re.search(pattern, lowered):
            return intent
    return Intent.TRANSFER if _is_bare_amount(lowered) else Intent.OFF_TOPIC


def last_user_text(messages: Sequence[Message]) -> str:
    """Give the text of the last user message, "" when there is none."""
    return next((text_of(message) for message in reversed(messages) if message.get("role") == "user"), "")


def text_of(message: Message) -> str:
    """Give a message's text, joining the text parts of a list content."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _names(tools: Sequence[Mapping[str, Any]]) -> set[str]:
    return {str(tool.get("function", {}).get("name")) for tool in tools}


def _is_bare_amount(text: str) -> bool:
    return _AMOUNT.fullmatch(text.strip(" .!")) is not None


def _wanted_calls(text: str, messages: Sequence[Message]) -> list[ToolCall]:
    match intent_of(text):
        case Intent.BALANCE:
            accounts = _accounts_in(text)
            return [ToolCall("get_balance", {"account": account}) for account in accounts or ["checking"]]
        case Intent.TRANSACTIONS:
            limit = _AMOUNT.search(text)
            count = {"limit": int(limit[1])} if limit else {}
            return [ToolCall("list_transactions", {"account": (_accounts_in(text) or ["checking"])[0], **count})]
        case Intent.FREEZE:
            return _freeze_calls(text.lower())
        case Intent.TRANSFER:
            return _transfer_calls(text, messages)
        case _:
            return []


def _freeze_calls(text: str) -> list[ToolCall]:
    reason = next((word for word in ("lost", "stolen") if word in text), "other")
    cards = list(CARDS) if "both" in text or "wallet" in text else [card for card in CARDS if card in text]
    return [ToolCall("freeze_card", {"card": card, "reason": reason}) for card in cards or ["debit"]]


def _transfer_calls(text: str, messages: Sequence[Message]) -> list[ToolCall]:
    amount = _AMOUNT.search(text)
    if amount is None:
        return []
    said = [text_of(message) for message in messages if message.get("role") == "user"]
    words = " ".join(said[-2:]) if _is_bare_amount(text) else text
    source, target = _transfer_ends(words.lower())
    value = float(amount[1].replace(",", ""))
    number = int(value) if value.is_integer() else value
    return [ToolCall("transfer_money", {"amount": number, "from_account": source, "to_account": target})]


def _transfer_ends(text: str) -> tuple[str, str]:
    names = "|".join(ACCOUNTS)
    to = re.search(rf"\bto (?:my )?({names})", text)
    source = re.search(rf"\bfrom (?:my )?({names})", text)
    target_name = to[1] if to else ("checking" if source and source[1] == "savings" else "savings")
    source_name = source[1] if source else ("savings" if target_name == "checking" else "checking")
    return source_name, target_name


def _accounts_in(text: str) -> list[str]:
    lowered = text.lower()
    if re.search(r"\b(all|every)\b", lowered):
        return list(ACCOUNTS)
    if "both" in lowered:
        return ["checking", "savings"]
    return [account for account in ACCOUNTS if account in lowered]


def _say(text: str) -> str:
    lowered = text.lower()
    match intent_of(text):
        case Intent.FEES:
            return next((answer for word, answer in _FEES.items() if word in lowered), _ALL_FEES)
        case Intent.PRODUCTS:
            return next(answer for word, answer in _PRODUCTS.items() if word in lowered)
        case Intent.SMALL_TALK:
            return "You're welcome. Have a good day!" if "thank" in lowered else "Hello! How can I help you today?"
        case Intent.TRANSFER if not _AMOUNT.search(text):
            return _ASKS_AMOUNT
        case Intent.OFF_TOPIC:
            return OFF_TOPIC_REPLY
        case _:
            return "I cannot see your accounts from here. You find this in the app under Accounts."


def _open_results(messages: Sequence[Message]) -> list[tuple[str, object]]:
    """Pair the tool results at the end of a conversation with the names of the tools that gave them, in order."""
    tail: list[Message] = []
    rest = list(messages)
    while rest and rest[-1].get("role") == "tool":
        tail.insert(0, rest.pop())
    calls = (rest[-1].get("tool_calls") or []) if rest else []
    names = {call.get("id"): call["function"]["name"] for call in calls}
    in_order = [call["function"]["name"] for call in calls]
    paired = []
    for index, message in enumerate(tail):
        fallback = in_order[index] if index < len(in_order) else "tool"
        paired.append((names.get(message.get("tool_call_id"), fallback), _parsed(text_of(message))))
    return paired


def _parsed(text: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value


def _tell(name: str, result: object) -> str:
    if not isinstance(result, dict) or "error" in result:
        return "That did not work. Please try again in the app."
    match name:
        case "get_balance":
            return f"Your {result['account']} balance is {_dollars(result['balance'])}."
        case "transfer_money" if result.get("status") == "refused":
            return f"There is not enough money in {result['from_account']} to transfer {_dollars(result['amount'])}."
        case "transfer_money":
            sides = f"from your {result['from_account']} to your {result['to_account']} account"
            return f"I've transferred {_dollars(result['amount'])} {sides}."
        case "freeze_card":
            return f"Your {result['card']} card ending in {result['last4']} is frozen."
        case "list_transactions":
            rows = result["transactions"]
            listed = "; ".join(f"{row['date']} {row['description']} {_dollars(row['amount'])}" for row in rows)
            return f"Your latest {len(rows)} transactions in {result['account']}: {listed}."
        case _:
            return f"The result is {json.dumps(result)}."


def _dollars(amount: float) -> str:
    return f"-${-amount:,.2f}" if amount < 0 else f"${amount:,.2f}"
