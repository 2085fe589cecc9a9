"""The dialects side by side: how each one's requests, plain answers and streams are read."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from proxy.assembly.chat import ChatAssembler
from proxy.assembly.completion import Completion, read_completion
from proxy.assembly.endpoint import Endpoint
from proxy.assembly.request import Members, Request, read_chat_request
from proxy.assembly.sse import Event
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
        prompt_tokens: The field of `usage` that counts them; the same for `completion_tokens`.
        completion_tokens: See `prompt_tokens`.
    """

    read_request: Callable[[Members], Request]
    read_answer: Callable[[JsonText], Completion]
    assembler: Callable[[], Assembler]
    prompt_tokens: str = "prompt_tokens"
    completion_tokens: str = "completion_tokens"


DIALECTS: dict[Endpoint, Dialect] = {
    Endpoint.CHAT_COMPLETIONS: Dialect(read_chat_request, read_completion, ChatAssembler),
    Endpoint.COMPLETIONS: Dialect(read_chat_request, read_completion, ChatAssembler),
    Endpoint.RESPONSES: Dialect(read_chat_request, read_completion, ChatAssembler),
    Endpoint.MESSAGES: Dialect(read_chat_request, read_completion, ChatAssembler),
}
