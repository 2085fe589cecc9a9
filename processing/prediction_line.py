"""How a prediction is written beside its reference, as a line of a predictions file.

A question that is one text of a user's is written plainly: `question`, `answer`, `prediction`, `context`. Any longer
conversation, and one that holds more than text, is written as messages: `prompt`, `completion`, `prediction`.
"""

from collections.abc import Sequence
from dataclasses import replace

from processing.metrics import answer_text
from store.recorded.message import Json, Message
from store.recorded.message_form import to_openai

_SYSTEM_ROLES = ("system", "developer")


def prediction_line(prompt: Sequence[Message], reference: Message, prediction: Message | None) -> dict[str, Json]:
    """Write what was asked, what should have been answered and what was.

    Args:
        prompt: The messages before the answer.
        reference: The answer that is right.
        prediction: The answer that was given; None for none, which is null in the line.
    """
    said = [message for message in prompt if message.role not in _SYSTEM_ROLES]
    if len(said) == 1 and said[0].role == "user" and isinstance(said[0].content, str):
        return {
            "question": said[0].content,
            "answer": answer_text(reference),
            "prediction": None if prediction is None else answer_text(prediction) or prediction.refusal or "",
            "context": None,
        }
    return {
        "prompt": [_plain(message) for message in prompt],
        "completion": [_plain(reference)],
        "prediction": None if prediction is None else [_plain(prediction)],
    }


def _plain(message: Message) -> dict[str, Json]:
    """The message as OpenAI writes it; `weight` is about learning and not part of what was said."""
    return to_openai(replace(message, extra={name: value for name, value in message.extra.items() if name != "weight"}))
