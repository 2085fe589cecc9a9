"""Stitching call by call comes to what stitching all calls at once comes to, whatever the order of arrival."""

import asyncio
import random
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from store.change import Change, ChangeKind, find_change
from store.conversation import CallKeys, stitch
from store.conversation_call import session_id
from store.conversation_expressions import IS_LEAF, PARENT
from store.conversation_follower import Conversations
from store.conversation_lookup import id_of_conversation
from store.conversation_settling import ConversationSettling
from store.erasing.removal import remove_content
from store.json_text import dumps
from store.trace import Reply, Trace
from store.traces import TraceReader, TraceWriter
from store.tree import chain
from store.uuid7 import uuid7
from tests.store.traces import STARTED_AT, make_trace

LONG = "A2"
LONG_END = "\x01" * 70
"""Long as JSON, and too few characters for a window."""
LEAST_BYTES = 400
PLACES = f"""
    SELECT t.number, t.id, s.conversation, (SELECT p.id FROM traces p WHERE p.number = {PARENT}), {IS_LEAF},
           s.continues IS NOT NULL AND s.place IS NULL
    FROM conversation_traces s JOIN traces t ON t.number = s.trace
"""  # noqa: S608 - put together from constants


class Place(NamedTuple):
    conversation: bytes
    parent: int | None
    is_leaf: bool
    is_truncated: bool = False


def message(word: str) -> bytes:
    role = {"S": "system", "U": "user", "T": "tool"}.get(word[0], "assistant")
    return dumps({"role": role, "content": word + LONG_END if word == LONG else word})


def countable_keys(messages: Sequence[bytes]) -> tuple[bytes, ...]:
    """Give the keys of a request, spoilt where a reply stands that is not its last, with too little said up to it."""
    keys, roles, said = [link.key for link in chain(messages)], [link.role for link in chain(messages)], 0
    replies = [place for place, role in enumerate(roles) if role == "assistant"]
    for place, role in enumerate(roles):
        said += len(messages[place]) if role != "system" else 0
        if place in replies[:-1] and said < LEAST_BYTES and place < len(keys) - 1:
            keys[place] = b"spoilt"
    return tuple(keys)


def call(number: int, at: float, history: Sequence[str], *replies: str, **fields: Any) -> Trace:
    """Make a trace from words: `S…` is a system message, `U…` the user's, `T…` a tool's, others the assistant's."""
    return make_trace(
        number,
        created_at=STARTED_AT + timedelta(seconds=at),
        messages=tuple(message(word) for word in history),
        replies=tuple(Reply(index, message(word), "stop") for index, word in enumerate(replies)),
        **fields,
    )


def expected(traces: Iterable[Trace]) -> dict[int, Place]:
    """Stitch all at once, the calls of each session apart."""
    places: dict[int, Place] = {}
    by_session: dict[str | None, list[CallKeys[str]]] = {}
    for trace in traces:
        request = chain(trace.messages)
        replies = tuple(chain((reply.message,), request[-1])[0].key for reply in trace.replies)
        held = countable_keys(trace.messages) if trace.session is None else tuple(link.key for link in request)
        keys = CallKeys(str(trace.id), trace.created_at, held, replies)
        by_session.setdefault(trace.session, []).append(keys)
    for session, calls in by_session.items():
        for conversation in stitch(calls):
            name = conversation.tree if session is None else session_id(session)
            for parent, ref in zip((None, *conversation.members), conversation.members, strict=False):
                number = UUID(ref).int
                places[number] = Place(name, parent and UUID(parent).int, ref == conversation.ref)
    return places


def places_in(path: Path) -> dict[int, Place]:
    with closing(sqlite3.connect(path)) as database:
        names: dict[int, bytes] = {}
        found = {}
        for _, id_, conversation, parent, is_leaf, is_truncated in database.execute(PLACES).fetchall():
            if conversation not in names:
                names[conversation] = id_of_conversation(database, conversation)
            parent_number = None if parent is None else int.from_bytes(parent, "big")
            place = Place(names[conversation], parent_number, bool(is_leaf), bool(is_truncated))
            found[int.from_bytes(id_, "big")] = place
        assert len(set(names.values())) == len(names)
        assert database.execute("SELECT count(*) FROM conversation_unsettled").fetchone()[0] == 0
        return found


async def store(path: Path, batches: Iterable[Sequence[Trace]]) -> None:
    async with await TraceWriter.open(path) as writer:
        for batch in batches:
            await writer.write(batch)


def store_and_look(batches: Iterable[Sequence[Trace]]) -> dict[int, Place]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traces.db"
        asyncio.run(store(path, batches))
        return places_in(path)


def erase(path: Path, numbers: Sequence[int]) -> None:
    """Erase traces of these ids as the writer does: derived tables first."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        rows = [
            database.execute("SELECT number FROM traces WHERE id = ?", (UUID(int=number).bytes,)).fetchone()[0]
            for number in numbers
        ]
        database.execute("BEGIN IMMEDIATE")
        Conversations().remove(database, rows)
        for row in rows:
            database.execute("DELETE FROM replies WHERE trace = ?", (row,))
            database.execute("DELETE FROM traces WHERE number = ?", (row,))
        database.execute("COMMIT")


@st.composite
def grown_trees(draw: st.DrawFn) -> list[Trace]:
    """Draw chats with forks, regenerations, equal calls, calls that were not captured, choices, failures, sessions."""
    traces: list[Trace] = []
    ends: list[tuple[str, ...]] = [(), ("S",), ("S", "U0", "A0")]
    for number in range(1, draw(st.integers(1, 16)) + 1):
        history = (*draw(st.sampled_from(ends)), f"U{draw(st.integers(0, 1))}")
        if draw(st.booleans()):
            # A reply that nobody captured, or that somebody else may have.
            history = (*history, f"A{draw(st.integers(0, 2))}", f"U{draw(st.integers(0, 1))}")
        replies = draw(st.lists(st.sampled_from(["A0", "A1", "A2"]), max_size=2, unique=True))
        session = draw(st.sampled_from([None, None, None, "s", "t"]))
        # Few distinct times, so that ties happen.
        traces.append(call(number, draw(st.integers(0, 3)), history, *replies, session=session))
        ends += [(*history, reply) for reply in replies]
    return traces


def in_batches(traces: Sequence[Trace], chance: random.Random) -> list[list[Trace]]:
    shuffled = list(traces)
    chance.shuffle(shuffled)
    batches: list[list[Trace]] = [[]]
    for trace in shuffled:
        if chance.random() < 0.4:
            batches.append([])
        batches[-1].append(trace)
    return batches


@settings(max_examples=40, deadline=None)
@given(grown_trees(), st.randoms(use_true_random=False))
def test_any_order_of_arrival_comes_to_what_all_calls_at_once_come_to(
    traces: list[Trace], chance: random.Random
) -> None:
    assert store_and_look(in_batches(traces, chance)) == expected(traces)


@settings(max_examples=30, deadline=None)
@given(grown_trees(), st.randoms(use_true_random=False))
def test_erased_calls_leave_the_others_as_if_they_had_never_been(traces: list[Trace], chance: random.Random) -> None:
    gone = chance.sample(traces, chance.randrange(len(traces) + 1))
    kept = [trace for trace in traces if trace not in gone]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traces.db"
        asyncio.run(store(path, in_batches(traces, chance)))
        numbers = [trace.id.int for trace in gone]
        half = len(numbers) // 2
        erase(path, numbers[:half])
        erase(path, numbers[half:])
        assert places_in(path) == expected(kept)


def test_a_short_exchange_that_strangers_begin_with_joins_no_history_whose_last_reply_nobody_made() -> None:
    """What is left of a cut history began with a common question, and went on from whoever had begun with it."""
    stranger = call(1, 1, ["S", "U0"], "A0")
    cut = call(2, 2, ["S", "U0", "A0", "U1", "A1", "U1"], "A0")
    known = call(3, 3, ["S", "U0", "A0", "U1"], "A0")
    places = store_and_look([[cut], [known, stranger]])
    assert [places[number].parent for number in (1, 2, 3)] == [None, None, 1]
    assert places[1].conversation == places[3].conversation != places[2].conversation
    # An answer of some sentences is nobody else's.
    long = [call(1, 1, ["S", "U0"], LONG), call(2, 2, ["S", "U0", LONG, "U1", "A1", "U1"], "A0")]
    assert {place.conversation for place in store_and_look([long]).values()} == {places[1].conversation}


async def test_calls_whose_content_has_expired_are_left_in_their_sessions_alone(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    session = [call(n, n, ["S", "U", "A", "U2"][: 2 * n], "A", session="s") for n in (1, 2)]
    chat = [call(10 + n, n, ["S", "U", "A", "U2", "B", "U3"][: 2 * n], "AB"[n - 1]) for n in (1, 2)]
    await store(path, [[*session, *chat]])
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        remove_content(database, [1, 3], [Conversations()])
        database.execute("COMMIT")
    places = places_in(path)
    assert {number: (place.conversation, place.parent) for number, place in places.items()} == {
        1: (session_id("s"), None),
        2: (session_id("s"), None),
        12: (chain(chat[1].messages)[-1].key, None),
    }


@settings(max_examples=10, deadline=None)
@given(grown_trees(), grown_trees(), st.randoms(use_true_random=False))
def test_all_is_stitched_again_when_somebody_asks_also_while_calls_come_in(
    before: list[Trace], meanwhile: list[Trace], chance: random.Random
) -> None:
    """After an upgrade that changed the rules, rows that the old rules made are all gone."""
    later = [replace(trace, id=UUID(int=trace.id.int + 100)) for trace in meanwhile]

    async def rebuilt(path: Path) -> None:
        change = Change(uuid7(), ChangeKind.CONVERSATIONS, STARTED_AT)
        async with await TraceWriter.open(path) as writer:
            for batch in in_batches(before, chance):
                await writer.write(batch)
            with closing(sqlite3.connect(path, isolation_level=None)) as database:
                database.execute("UPDATE conversation_traces SET conversation = 1, continues = x'00'")
                database.execute("INSERT OR IGNORE INTO conversation_waits SELECT randomblob(16), trace, 1 "
                                 "FROM conversation_traces")  # fmt: skip
            await writer.write(changes=[change])
            settling, rest = ConversationSettling(), later
            while (await writer.perform(settling)).has_more or rest:
                await writer.write(rest[:3])
                rest = rest[3:]
        async with await TraceReader.open(path) as reader:
            found = await reader.look(lambda db: find_change(db, change.id))
        assert found is not None
        assert (found.finished_at is not None, found.result) == (True, {"calls": len(before)})

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traces.db"
        asyncio.run(rebuilt(path))
        assert places_in(path) == expected([*before, *later])
