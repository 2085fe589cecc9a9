"""`tracemill conversations list|show|rebuild`: calls that belong together, also while the server runs."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Annotated, NoReturn, TypeVar
from uuid import UUID

import typer

from store.change import ChangeKind
from store.conversation_json import conversation_json, page_json
from store.conversation_reader import list_conversations, show_conversation
from store.conversation_summary import ConversationSummary, Member, WholeConversation
from store.data_files import TRACES_FILE
from store.errors import FilterError
from store.filter import Filter, parse_filter
from store.traces import TraceReader
from tracemill.change_request import apply_written, ask, make_change
from tracemill.count_text import counted
from tracemill.terminal_text import many_lines, one_line
from tracemill.trace_commands import AsJson, DataDir, Where, check_folder

T = TypeVar("T")

conversations = typer.Typer(no_args_is_help=True, add_completion=False, help="Look at calls that belong together.")

_DEFAULT_DATA_DIR = Path("tracemill-data")
_LOOK_S = 0.2
_UNSETTLED = "Not every call has its place yet; the server is still at it."


@conversations.command("list")
def list_(
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on after the page that gave this cursor.")] = None,
    as_json: AsJson = False,
) -> None:
    """List conversations, the one with the newest call first; --where selects by their calls."""
    listing = partial(list_conversations, where=_read_where(where), cursor=cursor, limit=limit)
    page = asyncio.run(_look(data_dir, listing))
    if as_json:
        _print(page_json(page) + b"\n")
        return
    if not page.conversations:
        typer.echo("No conversations." if where is None else "No conversations with a call that this filter selects.")
    for conversation in page.conversations:
        typer.echo(_line(conversation))
    if page.next_cursor is not None:
        typer.echo(f"More: --cursor {page.next_cursor}")
    if not page.is_settled:
        typer.echo(_UNSETTLED, err=True)


@conversations.command("show")
def show(
    conversation_id: Annotated[str, typer.Argument(help="A conversation's id, as `conversations list` shows it.")],
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many calls.")] = 500,
    cursor: Annotated[str | None, typer.Option(help="Go on after the page that gave this cursor.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a conversation as the tree of its calls."""
    showing = partial(show_conversation, id_=conversation_id, cursor=cursor, limit=limit)
    conversation = asyncio.run(_look(data_dir, showing))
    if conversation is None:
        _fail(
            f'no conversation in {data_dir} has the id "{one_line(conversation_id, 80)}". An id is given whole; '
            "`tracemill conversations list` shows them."
        )
    if as_json:
        _print(conversation_json(conversation) + b"\n")
        return
    _print("".join(f"{line}\n" for line in _tree_lines(conversation)).encode())
    if conversation.next_cursor is not None:
        typer.echo(f"More: --cursor {conversation.next_cursor}")
    if not conversation.is_settled:
        typer.echo(_UNSETTLED, err=True)


def _line(each: ConversationSummary) -> str:
    forks = "" if each.leaves in (None, 1) else f", {each.leaves} leaves"
    session = "" if each.session is None else f"  session {one_line(each.session, 40)}"
    models = ", ".join("no model" if model is None else one_line(model, 24) for model in each.models)
    calls = counted(each.calls, "call") + ("" if each.is_whole else " or more")
    return f"{each.id}  {_time(each.last_at)}  {calls}, {counted(each.turns, 'turn')}{forks}  {models}{session}"


def _tree_lines(conversation: WholeConversation) -> Iterator[str]:
    """Give a line for each call below its parent's; only forks go to the right."""
    summary = conversation.summary
    yield f"conversation  {summary.id}"
    if summary.session is not None:
        yield f"session       {one_line(summary.session, 80)}"
    yield f"calls         {_time(summary.first_at)} to {_time(summary.last_at)}"
    tokens = ["unknown" if each is None else str(each) for each in (summary.prompt_tokens, summary.completion_tokens)]
    yield f"tokens        {tokens[0]} in, {tokens[1]} out"
    if summary.cost_usd is not None:
        yield f"cost          ${summary.cost_usd:.6f}"
    yield ""
    shown = {member.id for member in conversation.members}
    children: dict[UUID | None, list[Member]] = {}
    for member in conversation.members:
        children.setdefault(member.parent if member.parent in shown else None, []).append(member)
    waiting = [(member, 0) for member in reversed(children.get(None, ()))]
    told: set[UUID] = set()
    while waiting:
        member, depth = waiting.pop()
        told.add(member.id)
        yield f"{'  ' * depth}{_member_text(member)}"
        below = [child for child in children.get(member.id, ()) if child.id not in told]
        deeper = depth + (len(below) > 1)
        waiting += [(child, deeper) for child in reversed(below)]


def _member_text(member: Member) -> str:
    notes = [
        note
        for note, holds in (
            ("beginning dropped", member.is_truncated),
            ("asked again", member.is_regenerated),
            ("edited", member.is_edited),
            (f"reply {member.choice}", bool(member.choice)),
            (member.outcome.value, member.outcome.value != "completed"),
            ("leaf", member.is_leaf),
        )
        if holds
    ]
    return f"{member.id}  {_time(member.created_at)}  turn {member.turn}  {', '.join(notes)}".rstrip()


def _time(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")


@conversations.command("rebuild")
def rebuild(data_dir: DataDir = _DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Stitch all calls again, as after an upgrade that changed the rules; a running server does it between its calls.

    Meanwhile calls that wait have no conversation. Ids follow from the calls alone, so they stay where the rules did.
    """
    check_folder(data_dir)
    change = make_change(ChangeKind.CONVERSATIONS, {})
    record = ask(data_dir, change)
    while record is None or record.finished_at is None:
        time.sleep(_LOOK_S)
        record = apply_written(data_dir, change.id)
    if as_json:
        typer.echo(json.dumps({"id": str(change.id), **record.result}))
    else:
        typer.echo(f"Stitched {counted(record.result['calls'], 'call')} again.")


async def _look(data_dir: Path, work: Callable[[Connection], T]) -> T:
    async with await TraceReader.open(check_folder(data_dir) / TRACES_FILE) as reader:
        return await reader.look(work)


def _read_where(text: str | None) -> Filter | None:
    try:
        return None if text is None else parse_filter(text)
    except FilterError as error:
        raise typer.BadParameter(many_lines(str(error)), param_hint="--where") from error


def _print(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {many_lines(message)}", err=True)
    raise typer.Exit(1)
