"""The dialects side by side: how each one's requests, plain answers and streams are read."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from proxy.assembly import chat, messages_answer
from proxy.assembly.chat import ChatAssembler
from proxy.assembly.chat_value import read_completion_value, read_request_value
from proxy.assembly.completion import Completion, read_completion
from proxy.assembly.endpoint import Endpoint
from proxy.assembly.messages_answer import MessageAssembler, read_message
from proxy.assembly.messages_request import read_messages_request
from proxy.assembly.request import Members, Request, read_chat_request, read_text_request
from proxy.assembly.responses_answer import ResponseAssembler, read_response
from proxy.assembly.responses_request import read_responses_request
from proxy.assembly.sse import Event
from proxy.assembly.text_run import CarriedText
from store.trace import JsonText


class Assembler(Protocol):
    """Grows a completion event by event."""

    def feed(self, event: Event) -> None:
        """Take the next event of the stream."""

    def finish(self) -> Completion:
        """Give the completion as far as it came."""


class Dialect(NamedTuple):
    """How one endpoint speaks.

    Attributes:
        read_request: Takes the members of the request's object.
        read_answer: Takes a plain answer, one JSON value.
        assembler: Makes the assembler of one streamed answer.
        read_request_value: As `read_request`, from the `json_text.exact_value` of the request's object; None where all
            are read by their members. The same for `read_answer_value`.
        read_answer_value: See `read_request_value`.
        prompt_tokens: The field of `usage` that counts them; the same for `completion_tokens`.
        completion_tokens: See `prompt_tokens`.
        carried_text: What tells the events by whose runs a stream can be folded; None where numbered events allow none.
    """

    read_request: Callable[[Members], Request]
    read_answer: Callable[[JsonText], Completion]
    assembler: Callable[[], Assembler]
    prompt_tokens: str = "prompt_tokens"
    completion_tokens: str = "completion_tokens"
    carried_text: CarriedText | None = None
    read_request_value: Callable[[dict[str, Any]], Request] | None = None
    read_answer_value: Callable[[dict[str, Any]], Completion] | None = None


DIALECTS: dict[Endpoint, Dialect] = {
    Endpoint.CHAT_COMPLETIONS: Dialect(
        read_chat_request,
        read_completion,
        ChatAssembler,
        carried_text=chat.carried_text,
        read_request_value=read_request_value,
        read_answer_value=read_completion_value,
    ),
    Endpoint.COMPLETIONS: Dialect(
        read_text_request,
        read_completion,
        ChatAssembler,
        carried_text=chat.carried_text,
        read_answer_value=read_completion_value,
    ),
    Endpoint.RESPONSES: Dialect(
        read_responses_request, read_response, ResponseAssembler, "input_tokens", "output_tokens"
    ),
    Endpoint.MESSAGES: Dialect(
        read_messages_request,
        read_message,
        MessageAssembler,
        "input_tokens",
        "output_tokens",
        messages_answer.carried_text,
    ),
}
