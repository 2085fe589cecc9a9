"""Conversations whose truth is known: everything that clients do, in any order of arrival."""

import asyncio
import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from benchmarks.conversations import ids, look, score, stitch_all_again, window_links, write
from benchmarks.made_conversations import WHOLE, make_calls
from store.connection import run
from store.conversation_follower import Conversations
from store.conversation_lookup import conversation_of_id
from store.trace import Trace
from store.traces import TraceWriter
from tests.store.test_conversation_follower import Place, call, erase, places_in, store, store_and_look

LONG = "that nobody else says in just these words, at a length that tells it from all others there are"


def test_2000_shuffled_calls_of_all_kinds_are_stitched_right(tmp_path: Path) -> None:
    chance = random.Random(7)
    calls = make_calls(400, chance)
    chance.shuffle(calls)
    path = tmp_path / "traces.db"
    asyncio.run(write(path, calls, size=37))
    found = look(path)
    assert len(calls) > 1800
    for kind in WHOLE:
        assert score([each for each in calls if each.kind == kind], found)[1:] == (1.0, 1.0, 1.0), kind
    links = window_links(path, calls, found)
    assert links.wrong == 0
    assert links.right > 100


def test_the_ids_are_the_same_in_whatever_order_and_when_all_is_stitched_again(tmp_path: Path) -> None:
    chance = random.Random(8)
    calls = make_calls(150, chance)
    names = []
    for order in range(3):
        path = tmp_path / f"{order}.db"
        asyncio.run(write(path, calls, size=[len(calls), 50, 11][order]))
        names.append(sorted(ids(path).values()))
        chance.shuffle(calls)
    places = places_in(path)
    asyncio.run(stitch_all_again(path))
    assert names[0] == names[1] == names[2] == sorted(ids(path).values())
    assert places_in(path) == places


def chat(turns: int, who: str = "") -> list[str]:
    """Give the messages of a long chat without its system prompt, each long and like no other."""
    return [f"{role}{who}{turn} {LONG}" for turn in range(turns) for role in "UA"]


def cut_calls(who: str = "", at: int = 0) -> list[tuple[float, list[str], str]]:
    """Make a chat of six turns whose last two calls hold only the last five messages."""
    words = chat(6, who)
    calls = []
    for turn in range(6):
        history = words[: 2 * turn + 1]
        calls.append((at + turn, ["S", *history] if turn < 4 else ["S", *history[-5:]], words[2 * turn + 1]))
    return calls


@pytest.mark.parametrize("order", [range(6), reversed(range(6)), (4, 2, 5, 0, 1, 3)])
def test_a_history_without_its_beginning_goes_on_from_where_its_last_messages_stand(order: Sequence[int]) -> None:
    traces = [call(n + 1, *made) for n, made in enumerate(cut_calls())]
    places = store_and_look([[traces[n]] for n in order])
    assert [places[n].parent for n in range(1, 7)] == [None, 1, 2, 3, 4, 5]
    assert [places[n].is_truncated for n in range(1, 7)] == [False] * 4 + [True] * 2
    assert len({place.conversation for place in places.values()}) == 1
    assert [n for n, place in places.items() if place.is_leaf] == [6]


def test_a_history_may_have_lost_its_system_prompt_but_not_have_another() -> None:
    words = chat(3)
    whole = call(1, 0, ["S", *words[:5]], words[5])
    without = call(2, 1, [*words[2:6], "U new"], "A new")
    under_another = call(3, 1, ["S other", *words[2:6], "U new"], "A new")
    places = store_and_look([[whole, without, under_another]])
    assert (places[2].parent, places[3].parent) == (1, None)


@pytest.mark.parametrize("difference", [{"user": "another"}, {"key_fingerprint": "another"}])
def test_a_window_of_another_client_joins_nothing(difference: dict[str, str]) -> None:
    made = cut_calls()
    traces = [call(n + 1, *each, **(difference if n == 5 else {})) for n, each in enumerate(made)]
    places = store_and_look([traces])
    assert places[5].parent == 4
    assert places[6].parent is None


def test_short_phrases_that_strangers_say_join_nothing() -> None:
    phrases = ["Uyes", "Ok", "Uyes", "Ok", "Uthanks", "You are welcome"]
    seeking = call(2, 1, ["S", *phrases[2:], "Uand now"], "A2")
    places = store_and_look([[call(1, 0, ["S", "U1", "A1", *phrases[:5]], phrases[5]), seeking]])
    assert places[2].parent is None
    assert places[1].conversation != places[2].conversation


@pytest.mark.parametrize("strangers_come_last", [True, False])
def test_what_two_strangers_said_alike_joins_neither(strangers_come_last: bool) -> None:
    """Also when the second comes late: what was joined comes apart again."""
    words = chat(3)
    one = call(1, 0, ["S", "U one", "A one", *words[:3]], words[3])
    other = call(2, 0, ["S", "U other", "A other", *words[:3]], words[3])
    seeking = call(3, 1, ["S", *words[:4], "U new"], "A new")
    more = call(4, 2, ["S", *words[:4], "U new", "A new", "U more"], "A more")
    batches = [[one, seeking, more], [other]] if strangers_come_last else [[other], [seeking], [more, one]]
    places = store_and_look(batches)
    assert (places[3].parent, places[4].parent) == (None, 3)
    assert places[1].conversation != places[3].conversation == places[4].conversation


@pytest.mark.parametrize("size", [1, 30])
@pytest.mark.parametrize(("seekers", "joined"), [(8, 8), (9, 0)])
def test_what_more_than_eight_requests_go_on_from_is_common_and_joins_none(
    seekers: int, joined: int, size: int
) -> None:
    words = chat(3)
    traces = [call(1, 0, ["S", "U one", "A one", *words[:3]], words[3])]
    traces += [call(n + 2, 1, ["S", *words[:4], f"U{n}"], "A") for n in range(seekers)]
    places = store_and_look([traces[at : at + size] for at in range(0, len(traces), size)])
    assert [place.parent for place in places.values()].count(1) == joined
    assert len({place.conversation for place in places.values()}) == 1 + seekers - joined


@pytest.mark.parametrize("size", [1, 2])
def test_a_call_does_not_go_on_from_what_went_on_from_it(size: int) -> None:
    words = chat(3)
    first = call(1, 0, ["S", *words[:4], "U new"], "A new")
    again = call(2, 1, ["S", *words[:4], "U new", "A new", *words[:3]], words[3])
    for traces in ([first, again], [again, first]):
        places = store_and_look([traces[at : at + size] for at in range(0, 2, size)])
        assert (places[1].parent, places[2].parent) == (None, 1)


def test_when_one_of_two_strangers_is_erased_the_other_is_found(tmp_path: Path) -> None:
    words = chat(3)
    one = call(1, 0, ["S", "U one", "A one", *words[:3]], words[3])
    other = call(2, 0, ["S", "U other", "A other", *words[:3]], words[3])
    seeking = call(3, 1, ["S", *words[:4], "U new"], "A new")
    asyncio.run(store(tmp_path / "traces.db", [[one, other, seeking]]))
    erase(tmp_path / "traces.db", [2])
    places = places_in(tmp_path / "traces.db")
    assert places[3] == Place(places[1].conversation, 1, is_leaf=True, is_truncated=True)
    erase(tmp_path / "traces.db", [1])
    assert places_in(tmp_path / "traces.db")[3].parent is None


def test_the_same_text_in_two_sessions_stays_apart_and_other_text_in_one_session_comes_together() -> None:
    first, second = ["S", "U"], ["S", "U", "A", "U2"]
    places = store_and_look(
        [
            [call(1, 0, first, "A", session="s"), call(2, 0, first, "A", session="t"), call(3, 0, first, "A")],
            [call(4, 1, second, "B", session="t"), call(5, 1, second, "B"), call(6, 2, ["Uelse"], "C", session="s")],
        ]
    )
    assert [places[n].parent for n in range(1, 7)] == [None, None, None, 2, 3, None]
    assert places[1].conversation == places[6].conversation
    assert len({places[n].conversation for n in (1, 2, 3)}) == 3


def test_an_id_that_was_told_before_a_late_call_still_leads_to_the_conversation(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    asyncio.run(store(path, [[call(2, 1, ["U", "A", "U2"], "B")]]))
    early = places_in(path)[2].conversation
    asyncio.run(store(path, [[call(1, 0, ["U"], "A")]]))
    places = places_in(path)
    assert early != places[2].conversation == places[1].conversation
    with closing(sqlite3.connect(path)) as database:
        assert conversation_of_id(database, early) == conversation_of_id(database, places[1].conversation)


def test_a_conversation_that_is_stitched_again_call_by_call_comes_out_the_same(tmp_path: Path) -> None:
    """A call that sought a window before took itself for an equal call that had found nothing."""
    path = tmp_path / "traces.db"
    asyncio.run(store(path, [[call(n + 1, *made) for n, made in enumerate(cut_calls())]]))
    places = places_in(path)
    conversations = Conversations()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        conversations._take_apart(database, [1])
        assert sum(iter(lambda: conversations.settle(database, 1), 0)) == 6
        database.execute("COMMIT")
    assert places_in(path) == places


@pytest.mark.parametrize("order", ["in order", "children first", "shuffled"])
def test_a_prompt_that_thousands_share_costs_each_of_them_no_more(order: str, tmp_path: Path) -> None:
    """The work for each call stays flat: four times the calls take no more than five times the steps of SQLite."""
    steps = []
    for count in (500, 2_000):
        makers = [call(n + 1, n, ["S", "Uhi"], "OK") for n in range(count)]
        children = [call(count + n + 1, n + 0.5, ["S", "Uhi", "OK", f"U{n}"], "OK") for n in range(count)]
        traces = [each for pair in zip(makers, children, strict=True) for each in pair]
        if order == "children first":
            traces = children + makers
        elif order == "shuffled":
            random.Random(1).shuffle(traces)
        path = tmp_path / f"{count}.db"
        steps.append(asyncio.run(steps_of_storing(path, [traces[at : at + 200] for at in range(0, len(traces), 200)])))
    assert steps[1] < 5 * steps[0]
    found = look(path)
    assert len({number for number, _ in found.values()}) == 1
    assert found[UUID(int=2_001 + 17)][1] == UUID(int=18)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_window_that_thousands_share_costs_each_of_them_no_more(shuffled: bool, tmp_path: Path) -> None:
    """Some prompts hold the same long examples each time, and some answers are always the same."""
    words = chat(3)
    steps = []
    for count in (250, 1_000):
        enders = [call(n + 1, n, ["S", f"U{n}", "A", *words[:3]], words[3]) for n in range(count)]
        seekers = [call(count + n + 1, n, ["S", *words[:4], f"Unew {n}"], "A") for n in range(count)]
        traces = enders + seekers
        if shuffled:
            random.Random(1).shuffle(traces)
        path = tmp_path / f"{count}.db"
        steps.append(asyncio.run(steps_of_storing(path, [traces[at : at + 100] for at in range(0, len(traces), 100)])))
    assert steps[1] < 5 * steps[0]
    assert len({number for number, _ in look(path).values()}) == 2_000


async def steps_of_storing(path: Path, batches: Sequence[Sequence[Trace]]) -> int:
    """Store traces and count what SQLite did for it, in hundreds of its machine's steps: no clock is as steady."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    async with await TraceWriter.open(path) as writer:
        await run(writer._connection, lambda database: database.set_progress_handler(count, 100))
        for batch in batches:
            await writer.write(batch)
    return counted
