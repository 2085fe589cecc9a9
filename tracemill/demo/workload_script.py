"""What the demo's customers say: conversations, each a list of user messages."""

from dataclasses import dataclass
from typing import Any

SYSTEM_PROMPT = "You are a helpful banking assistant."
INTENT_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "customer_intent",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "intent": {
                    "type": "string",
                    "enum": ["balance", "transfer", "freeze_card", "transactions", "fees", "products", "off_topic"],
                },
                "needs_person": {"type": "boolean"},
            },
            "required": ["intent", "needs_person"],
            "additionalProperties": False,
        },
    },
}
"""The `response_format` of the conversations that ask for JSON."""


@dataclass(frozen=True)
class Script:
    """One conversation the workload holds.

    Attributes:
        turns: The customer's messages in order; the replies and tool results come in between.
        has_tools: Whether the application offers the bank's tools.
        is_streaming: Whether it asks for streams.
        asks_for_json: Whether it wants the customer's intent as JSON under a schema.
        leaves_midstream: Whether the client closes the connection after the first pieces of the answer.
        model: Another model than the base model; an unknown one makes the upstream answer with an error.
    """

    turns: tuple[str, ...]
    has_tools: bool = True
    is_streaming: bool = False
    asks_for_json: bool = False
    leaves_midstream: bool = False
    model: str | None = None


_BANKING: tuple[tuple[str, ...], ...] = (
    ("What is my account balance?",),
    ("What is my account balance please?",),
    ("Could you tell me my savings balance?",),
    ("How much is on my credit card?",),
    ("Show me the balances of both accounts.",),
    ("I need the balance of all my accounts.", "Thanks!"),
    ("Transfer $100 to savings.",),
    ("What is my balance?", "Transfer $100 to savings."),
    ("What is my balance?", "Transfer $250 to savings.", "And what is my savings balance now?", "Thank you!"),
    ("Please move $45.50 from savings to checking.",),
    ("Move 75 dollars to my savings account", "Move another 25 to savings", "Thanks, that is all."),
    ("I'd like to transfer some money.", "$300", "Perfect, thanks."),
    ("Send $5,000 from checking to savings.",),
    ("I lost my debit card!",),
    ("My credit card was stolen, freeze it now.", "Do I pay any fees for a new card?"),
    ("Someone took my wallet, block both cards!",),
    ("Please freeze my debit card.", "Show me the last 3 transactions.", "Thank you"),
    ("Show me my last 5 transactions.",),
    ("Show me my last five transactions, I mean 5.",),
    ("What did I spend recently from checking?", "What is the balance there, checking?"),
    ("List the latest payments on my credit card.",),
    ("Show the last 2 transactions in savings.", "Move $20 from savings to checking.", "Thanks"),
    ("Hello!", "What is my checking balance?", "Show me the last 4 transactions.", "Transfer $60 to savings."),
    (
        "Good morning",
        "What is my balance?",
        "What is my savings balance?",
        "Transfer $500 from savings to checking.",
        "Show me the last 3 transactions.",
        "Thank you, bye!",
    ),
    ("Is $80 enough for the card fee? What are the card charges?",),
)
_QUESTIONS: tuple[tuple[str, ...], ...] = (
    ("What fees do you charge?",),
    ("What are your fees?",),
    ("How much is the overdraft fee?",),
    ("What does a wire transfer fee look like?", "And the card fee?"),
    ("What interest do savings earn?",),
    ("What interest rate do my savings earn?",),
    ("Do you offer a mortgage?", "And a personal loan?"),
    ("Can I get a loan of $10,000?",),
    ("How do I open another account?", "Thanks"),
    ("How do I open a new account?",),
    ("Can I pay in a cheque by photo?",),
    ("What is my credit limit?",),
    ("Can I get an overdraft?", "What does it cost, the overdraft fee?"),
    ("Hi there", "Do you offer a mortgage?"),
)
_OFF_TOPIC: tuple[tuple[str, ...], ...] = (
    ("Write me a poem about the sea.",),
    ("Who won the football match last night?",),
    ("How do I bake sourdough bread?",),
    ("Translate 'good evening' into Portuguese.", "And 'see you tomorrow'?"),
    ("What is the capital of Mongolia?",),
    ("Help me with my physics homework about pendulums.",),
)
_JSON: tuple[tuple[str, ...], ...] = (
    ("I lost my debit card in the park.",),
    ("What are the fees for a wire?",),
    ("Move $40 to savings.",),
    ("Recommend a film for tonight.",),
)


def scripts() -> list[Script]:
    """Give every conversation of the workload, about sixty, in a fixed order."""
    held = [Script(turns, is_streaming=index % 2 == 0) for index, turns in enumerate(_BANKING)]
    held += [Script(turns, has_tools=False, is_streaming=index % 2 == 1) for index, turns in enumerate(_QUESTIONS)]
    held += [Script(turns, is_streaming=index % 3 == 0) for index, turns in enumerate(_OFF_TOPIC)]
    held += [Script(turns, has_tools=False, asks_for_json=True) for turns in _JSON]
    # Some customers ask word for word what another asked: exact duplicates, in the other way of answering.
    held += [Script(turns, is_streaming=index % 2 == 1) for index, turns in enumerate(_BANKING[::4])]
    held.append(Script(("Please read me all of the terms.",), is_streaming=True, leaves_midstream=True))
    held.append(Script(("What is my balance?",), model="bank-assistant-retired"))
    return held
