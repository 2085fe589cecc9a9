"""What a request says, in one form for every dialect; and the request of a chat completion, which is that form.

The texts of a request are cut out, never written anew. What a trace keeps in a place of its own is *lifted*: it leaves
the parameters, and every other field stays in them as it stood. The table of the mapping is in `docs/dialects.md`.
"""

from collections.abc import Collection, Sequence

from proxy.assembly.completion import read_text
from store import json_text
from store.record import record
from store.trace import Flag, JsonText

Members = Sequence[tuple[str, JsonText]]
"""The members of an object in their order, duplicates kept."""

MAX_MESSAGES = 20_000
"""More are kept as they stand, among the parameters: each message would become a row."""


@record(frozen=True, slots=True)
class Request:
    """A request body, taken apart.

    Attributes:
        messages: In chat form, in order.
        tools: An array of tool definitions; functions in chat form.
        parameters: Every field that was not lifted, as one object.
        is_opted_out: Whether the body says `"store": false`.
    """

    messages: tuple[JsonText, ...] = ()
    tools: JsonText | None = None
    response_format: JsonText | None = None
    parameters: JsonText = b"{}"
    model: str | None = None
    user: str | None = None
    metadata: JsonText | None = None
    is_streaming: bool = False
    is_opted_out: bool = False
    flags: frozenset[Flag] = frozenset()


def make_request(
    members: Members,
    *,
    lifted: Collection[str],
    messages: tuple[JsonText, ...] | None = None,
    tools: JsonText | None = None,
    response_format: JsonText | None = None,
    user: str | None = None,
    flags: frozenset[Flag] = frozenset(),
) -> Request:
    """Put a request together: what every dialect writes alike is read here.

    Args:
        members: The body's members.
        lifted: Names of the fields that the other arguments were made of; of a name that occurs twice only the last
            leaves the parameters, and the request counts as malformed.
        messages: None when they cannot be told, which is what makes a request malformed. The others as in `Request`.
        tools: See there.
        response_format: See there.
        user: The user the dialect's own field names, if not `user`.
        flags: What the dialect found odd.
    """
    fields = dict(members)
    metadata = fields.get("metadata", b"null")
    return Request(
        messages=messages or (),
        tools=tools,
        response_format=response_format,
        parameters=_parameters(members, lifted),
        model=read_text(fields.get("model")),
        user=user or read_text(fields.get("user")),
        metadata=metadata if metadata.startswith(b"{") else None,
        is_streaming=fields.get("stream") == b"true",
        is_opted_out=fields.get("store") == b"false",
        flags=flags if messages is not None and len(fields) == len(members) else flags | {Flag.REQUEST_MALFORMED},
    )


def read_chat_request(members: Members) -> Request:
    """Read the request of a chat completion; messages and tools stay the very characters that came."""
    fields = dict(members)
    messages = read_objects(fields.get("messages"))
    shapes = {"messages": messages is not None, "tools": is_array(fields.get("tools"))}
    shapes["response_format"] = is_object(fields.get("response_format"))
    return make_request(
        members,
        lifted=[name for name, has_shape in shapes.items() if has_shape],
        messages=messages,
        tools=fields["tools"] if shapes["tools"] else None,
        response_format=fields["response_format"] if shapes["response_format"] else None,
    )


def read_text_request(members: Members) -> Request:
    """Read the request of a text completion: a prompt that is one text is a user's message.

    Token ids and several prompts are no message; they stay in the parameters.
    """
    fields = dict(members)
    if "prompt" not in fields and "messages" in fields:
        return read_chat_request(members)
    prompt = fields.get("prompt", b"null")
    if is_array(prompt) and len(prompts := json_text.elements(prompt)) == 1:
        prompt = prompts[0]
    if not prompt.startswith(b'"'):
        return make_request(members, lifted=())
    return make_request(
        members, lifted=("prompt",), messages=(write_object([("role", b'"user"'), ("content", prompt)]),)
    )


def read_objects(text: JsonText | None) -> tuple[JsonText, ...] | None:
    """Give the items of an array of objects; None when it is anything else, or longer than any request."""
    if text is None or not is_array(text):
        return None
    items = json_text.elements(text)
    return tuple(items) if len(items) <= MAX_MESSAGES and all(map(is_object, items)) else None


def is_array(text: JsonText | None) -> bool:
    """Whether a value is there and is an array."""
    return text is not None and text.startswith(b"[")


def is_object(text: JsonText | None) -> bool:
    """Whether a value is there and is an object."""
    return text is not None and text.startswith(b"{")


def write_object(members: Members) -> JsonText:
    """Write an object of members whose values are texts already."""
    return b"{" + b",".join([_key(name) + value for name, value in members]) + b"}"


def write_array(items: Collection[JsonText]) -> JsonText:
    """Write an array of items that are texts already."""
    return b"[" + b",".join(items) + b"]"


def _parameters(members: Members, lifted: Collection[str]) -> JsonText:
    last = {name: place for place, (name, _) in enumerate(members)}
    return write_object(
        [(name, value) for place, (name, value) in enumerate(members) if name not in lifted or place != last[name]]
    )


def _key(name: str) -> bytes:
    # Nearly every key is an ASCII word, which the writer of JSON takes ten times as long for.
    return b'"%s":' % name.encode() if name.isascii() and name.isidentifier() else json_text.dumps(name) + b":"
