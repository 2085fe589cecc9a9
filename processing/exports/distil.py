"""distil labs' rows: `question` and `answer`, or messages that end with the answer; and the lines beside them.

A tool call is a `{"name", "parameters"}` text as answer. A single user message is the question itself; anything longer
stands there as the text of a message array, as in their multi-turn files. The leading system message has no place: the
task of the job description takes it.
"""

from collections.abc import Sequence

from processing.exports.chat import answers, arguments_of, call_json, lost_of, plain_text
from processing.exports.converted import Converted
from processing.exports.reason import CannotHoldError, LeftOut, NotCarried
from processing.exports.row import ExportRow, leading_system, read_conversation, read_row
from store import json_text
from store.recorded.message import Json, Message
from store.recorded.message_form import to_openai


def convert(content: Json) -> Converted:
    """Write a line with question and answer for each answer that is learned."""
    row = read_row(content)
    lost = lost_of(row)
    lines = []
    for target in row.targets:
        before = row.messages[:target]
        asked = _asked(before)
        if len(asked) == 1 and asked[0].role == "user":
            question = plain_text(asked[0])
            lost |= {NotCarried.SYSTEM} if len(before) > 1 else set()
        else:
            question = json_text.dumps([_message(message, as_text=True) for message in before]).decode()
        lines.append({"question": question, "answer": _answer(row.messages[target])})
    return Converted(tuple(lines), frozenset(lost | _tools(row)))


def convert_messages(content: Json) -> Converted:
    """Write a line of messages for each answer that is learned; arguments are objects."""
    row = read_row(content)
    lost = lost_of(row)
    lines = []
    for target in row.targets:
        before = row.messages[:target]
        asked = _asked(before)
        lost |= {NotCarried.SYSTEM} if len(before) > len(asked) else set()
        messages = [_message(message, as_text=False) for message in (*asked, row.messages[target])]
        lines.append({"messages": messages})
    return Converted(tuple(lines), frozenset(lost | _tools(row)))


def convert_unstructured(content: Json) -> Converted:
    """Write an unstructured row: its messages as JSON text."""
    row = read_conversation(content)
    messages = json_text.dumps([to_openai(message) for message in row.messages]).decode()
    beside = {name: content[name] for name in ("tools", "response_format") if content.get(name) is not None}
    return Converted(({"context": messages, **beside},))


def convert_trace(content: Json) -> Converted:
    """Write a row as a line of `traces.jsonl`: the messages with their answers, and what the request came with."""
    row = read_conversation(content)
    line: dict[str, Json] = {"messages": [to_openai(message) for message in row.messages]}
    line |= {name: content[name] for name in ("tools", "response_format") if content.get(name) is not None}
    trace = row.metadata.get("source_trace_id")
    line["metadata"] = {**({"trace_id": trace} if isinstance(trace, str) else {}), "row_id": row.id}
    lost = {NotCarried.WEIGHTS} if set(answers(row.messages)) != set(row.targets) else set()
    return Converted((line,), frozenset(lost | ({NotCarried.COLUMNS} if row.columns else set())))


def _tools(row: ExportRow) -> set[NotCarried]:
    return set() if row.tools is None else {NotCarried.TOOLS}


def _answer(message: Message) -> str:
    text = plain_text(message)
    if not message.tool_calls:
        return text or message.refusal or ""
    if len(message.tool_calls) > 1:
        raise CannotHoldError(LeftOut.SEVERAL_CALLS)
    if text.strip():
        raise CannotHoldError(LeftOut.CALL_WITH_TEXT)
    (call,) = message.tool_calls
    return json_text.dumps({"name": call.name, "parameters": arguments_of(call)}).decode()


def _message(message: Message, *, as_text: bool) -> dict[str, Json]:
    """A message of an input; inside a text the arguments stay text, as everywhere that a model reads them."""
    written: dict[str, Json] = {"role": message.role, "content": plain_text(message) or message.refusal or ""}
    if message.tool_calls:
        written["tool_calls"] = [
            call_json(call, (lambda one: one.arguments) if as_text else arguments_of) for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return written


def _asked(before: Sequence[Message]) -> Sequence[Message]:
    """What stands before an answer, less the leading system messages."""
    asked = before[leading_system(before) :]
    if not asked:
        raise CannotHoldError(LeftOut.NO_PROMPT)
    return asked
