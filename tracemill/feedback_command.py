"""`tracemill feedback add|list`: saying what a trace is worth, also while the server runs."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn
from uuid import UUID

import typer

from store import json_text
from store.change import ChangeKind
from store.data_files import TRACES_FILE
from store.feedback import Feedback, check_target, feedback_list_json, feedback_of, find_target
from store.feedback_form import FeedbackError, Given, read_feedback, write_request
from store.json_text import JsonTextError
from store.trace_lookup import find_trace
from store.traces import TraceReader
from tracemill.change_request import ask, make_change
from tracemill.terminal_text import many_lines, one_line
from tracemill.trace_commands import check_folder
from tracemill.trace_text import feedback_line

feedback = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Say what a trace is worth, and see what was said."
)

TraceId = Annotated[str, typer.Argument(help="A trace id, a completion's id, or an answer's x-request-id.")]
DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="TRACEMILL_DATA_DIR", help="The data directory of `tracemill serve`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_DEFAULT_DATA_DIR = Path("tracemill-data")


@feedback.command("add")
def add(
    trace_id: TraceId,
    name: Annotated[str | None, typer.Option(help="What it is about, such as helpful.")] = None,
    value: Annotated[str | None, typer.Option(help="true, false or a number.")] = None,
    comment: Annotated[str | None, typer.Option(help="A text.")] = None,
    demonstration: Annotated[
        Path | None,
        typer.Option(help="File with the answer as it should have been, an assistant message as JSON; - for stdin."),
    ] = None,
    retract: Annotated[bool, typer.Option("--retract", help="Take back what you said under this name.")] = False,
    message: Annotated[int | None, typer.Option(min=0, help="Position of the request's message, from 0.")] = None,
    choice: Annotated[int | None, typer.Option(min=0, help="Index of the reply.")] = None,
    by: Annotated[str | None, typer.Option(help="Who says so. [default: your name on this machine]")] = None,
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Say what a trace, one of its messages or one of its replies is worth.

    What you said before under the same name stays, and does not count any more.
    """
    text = _value(value, comment, demonstration, is_retraction=retract)
    members = {"name": name, "message": message, "choice": choice, "by": by}
    plain = [(key, json_text.dumps(given)) for key, given in members.items() if given is not None]
    asked = b",".join(json_text.dumps(key) + b":" + each for key, each in [*plain, ("value", text)])
    try:
        given = read_feedback(b"{" + asked + b"}")
        trace = asyncio.run(_target(data_dir, trace_id, given))
    except FeedbackError as error:
        _fail(str(error))
    change = replace(make_change(ChangeKind.FEEDBACK, {}), body=write_request(trace, given))
    record = ask(data_dir, change)
    if record is not None and "error" in record.result:
        _fail(str(record.result["error"]))
    if as_json:
        told = {"id": str(change.id), "trace_id": str(trace), "is_applied": record is not None}
        _print(json_text.dumps(told) + b"\n")
    else:
        typer.echo("Noted." if record is not None else "On the disk; the server has not come to it yet.")


@feedback.command("list")
def list_feedback(trace_id: TraceId, data_dir: DataDir = _DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """List all that was said of a trace, in its order; what no longer counts is marked by a dash."""
    entries = asyncio.run(_entries(data_dir, trace_id))
    if as_json:
        _print(b'{"data":' + feedback_list_json(entries) + b"}\n")
        return
    if not entries:
        typer.echo("Nobody has said anything of this trace.")
    for entry in entries:
        typer.echo(f"{'  ' if entry.is_current else '- '}{feedback_line(entry)}")


def _value(value: str | None, comment: str | None, demonstration: Path | None, *, is_retraction: bool) -> bytes:
    given = [each for each in (value, comment, demonstration) if each is not None]
    if len(given) + is_retraction != 1:
        raise typer.BadParameter("give exactly one of --value, --comment, --demonstration and --retract.")
    if value is not None:
        return _number(value)
    if comment is not None:
        return json_text.dumps(comment)
    if demonstration is not None:
        return _message(demonstration)
    return b"null"


def _number(text: str) -> bytes:
    try:
        found = json_text.compact(text.encode("utf-8", "surrogatepass"))
    except JsonTextError:
        found = b""
    if not found or found[:1] in b'{["n':
        raise typer.BadParameter(f'"{one_line(text, 40)}"; expected true, false or a number.', param_hint="--value")
    return found


def _message(path: Path) -> bytes:
    try:
        return json_text.compact(sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes())
    except OSError as error:
        _fail(f"{path}: cannot be read ({error.strerror}).")
    except JsonTextError as error:
        _fail(f"{path}: is not JSON ({error}).")


async def _target(data_dir: Path, named: str, given: Given) -> UUID:
    """Give the id of the trace that is meant, and check that it has what the feedback is about."""
    async with await _open(data_dir) as reader:
        trace_id = await _trace_id(reader, named)
        target = None if trace_id is None else await reader.look(partial(find_target, trace_id=trace_id))
        if trace_id is None or target is None:
            _unknown(data_dir, named)
        check_target(given, target)
        return trace_id


async def _entries(data_dir: Path, named: str) -> Sequence[Feedback]:
    async with await _open(data_dir) as reader:
        trace_id = await _trace_id(reader, named)
        if trace_id is None:
            _unknown(data_dir, named)
        return await reader.look(partial(feedback_of, trace_id=trace_id))


async def _trace_id(reader: TraceReader, named: str) -> UUID | None:
    try:
        return UUID(named)
    except ValueError:
        trace = await find_trace(reader, named)
        return None if trace is None else trace.id


async def _open(data_dir: Path) -> TraceReader:
    return await TraceReader.open(check_folder(data_dir) / TRACES_FILE)


def _unknown(data_dir: Path, named: str) -> NoReturn:
    _fail(f'no trace, completion or request in {data_dir} has the id "{one_line(named, 80)}".')


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {many_lines(message)}", err=True)
    raise typer.Exit(1)


def _print(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()
