from datetime import timedelta
from pathlib import Path
from typing import Any

from store.clusters.opening import FORK, Opening, openings
from store.filter import parse_filter
from store.json_text import dumps, loads
from store.trace import Outcome, Reply, Trace
from store.traces import TraceReader, TraceWriter
from tests.store.traces import STARTED_AT, make_trace


def message(role: str, content: Any) -> bytes:
    return dumps({"role": role, "content": content})


def call(number: int, *said: tuple[str, Any], **fields: Any) -> Trace:
    replies = (Reply(0, message("assistant", f"reply {said[-1][1]}"), "stop"),)
    messages = tuple(message(role, content) for role, content in said)
    created_at = STARTED_AT + timedelta(seconds=number)
    return make_trace(number, **{"messages": messages, "replies": replies, "created_at": created_at, **fields})


def read(text: bytes) -> str:
    return str(loads(text)["content"])


async def opened(folder: Path, *traces: Trace, where: str | None = None) -> list[Opening]:
    async with await TraceWriter.open(folder / "traces.db") as writer:
        await writer.write(traces)
    async with await TraceReader.open(folder / "traces.db") as reader:
        selection = None if where is None else parse_filter(where)
        return [opening async for batch in openings(reader, selection, read) for opening in batch]


async def test_the_calls_of_a_conversation_open_alike_however_long_it_has_become(tmp_path: Path) -> None:
    first = (("system", "Be brief."), ("user", "Write SQL."))
    second = (*first, ("assistant", "reply Write SQL."), ("user", "Shorter."))
    third = (*second, ("assistant", "reply Shorter."), ("user", "Thanks."))
    found = await opened(tmp_path, call(1, *first), call(2, *second), call(3, *third))
    assert [opening.turns for opening in found] == [
        ("Write SQL.",),
        ("Write SQL.", "Shorter."),
        ("Write SQL.", "Shorter."),
    ]
    assert {opening.instructions for opening in found} == {"Be brief."}
    assert len({opening.request for opening in found}) == 3


async def test_messages_that_the_user_sends_in_a_row_are_one_turn(tmp_path: Path) -> None:
    (found,) = await opened(tmp_path, call(1, ("user", "A text."), ("user", "Translate it.")))
    assert found.turns == ("A text.\nTranslate it.",)


async def test_examples_that_an_application_puts_before_every_question_are_not_the_users_words(tmp_path: Path) -> None:
    shots = (("system", "s"), ("user", "example"), ("assistant", "answer"))
    traces = [call(number, *shots, ("user", f"question {number}")) for number in range(1, FORK + 1)]
    found = await opened(tmp_path, *traces)
    assert [opening.turns for opening in found] == [(f"question {number}",) for number in range(1, FORK + 1)]
    assert found[0].instructions == "s"


async def test_fewer_follow_ups_than_a_fork_are_those_of_people(tmp_path: Path) -> None:
    shots = (("user", "example"), ("assistant", "answer"))
    found = await opened(tmp_path, *(call(number, *shots, ("user", f"q{number}")) for number in range(1, FORK)))
    assert {opening.turns[0] for opening in found} == {"example"}


async def test_what_is_no_conversation_has_no_words_and_is_counted_all_the_same(tmp_path: Path) -> None:
    found = await opened(
        tmp_path,
        make_trace(1, endpoint=None, path="/v1/embeddings"),
        call(2, ("user", "q"), endpoint="completions"),
        call(3, ("system", "only this")),
        make_trace(4, messages=()),
    )
    assert [(opening.is_chat, opening.turns) for opening in found] == [(False, ()), (False, ()), (True, ()), (True, ())]


async def test_errors_models_and_the_selection_are_told(tmp_path: Path) -> None:
    failed = call(1, ("user", "q"), outcome=Outcome.UPSTREAM_ERROR, requested_model="m", replies=())
    found = await opened(tmp_path, failed, call(2, ("user", "q"), served_model="m-1"), where="outcome = upstream_error")
    assert [(opening.model, opening.is_error) for opening in found] == [("m", True)]


async def test_a_long_message_that_is_kept_in_pieces_is_read_whole(tmp_path: Path) -> None:
    long = "x" * 40_000 + " end"
    (found,) = await opened(tmp_path, call(1, ("user", long)))
    assert found.turns == (long,)
