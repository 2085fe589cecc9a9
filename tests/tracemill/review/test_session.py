import os
import pty
import select
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from store.datasets.row import Row, RowEnd, RowState
from tests.tracemill.review.reviewing import HOSTILE, NAME, a_store, ends, go_through, row
from tracemill.review.keyboard import Keyboard

WAITS = RowEnd(RowState.REVIEW, "relabel", "no_quorum")
ROWS = [row(f"ticket {number} {'ab' * number}", agreement=number / 10) for number in range(5)]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is broken but where a test asks for it."""
    monkeypatch.setenv("COLUMNS", "250")


Editor = Callable[[str], None]


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """Make an editor of Python statements over `text`, the file's; `turn` counts how often it was opened."""

    def make(statements: str) -> None:
        script = tmp_path / "editor.py"
        script.write_text(
            "import pathlib, sys\n"
            "path, count = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[0] + '.count')\n"
            "turn = int(count.read_text()) + 1 if count.exists() else 1\n"
            "count.write_text(str(turn))\n"
            "text = path.read_bytes().decode()\n"
            f"{statements}\n"
            "path.write_bytes(text.encode())\n"
        )
        Path(f"{script}.count").unlink(missing_ok=True)
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")

    return make


async def test_each_key_decides_and_the_next_row_comes(tmp_path: Path) -> None:
    async with a_store(tmp_path, ROWS[:4]) as store:
        shown = await go_through(store, ["a", "r", "s", "?", "x", "q"])
        # The more doubtful come first; the random one is among the others.
        reasons = list((await ends(store)).values())
        log = await store.decision_log(NAME)
    assert sorted(reasons) == ["accepted", "rejected_in_review", "uploaded", "uploaded"]
    assert [(one.kind, one.who) for one in log] == [("accept", "ann"), ("reject", "ann"), ("skip", "ann")]
    assert "tickets-v1: 1 accepted, 0 edited, 1 rejected, 1 skipped, 1 left." in shown
    assert shown.count("take back the last decision") == 2


async def test_what_was_typed_before_a_row_is_shown_decides_nothing(tmp_path: Path) -> None:
    async with a_store(tmp_path, ROWS) as store:
        await go_through(store, ["<r", "a", "<r", "<r", "s", "q"])
        assert [one.kind for one in await store.decision_log(NAME)] == ["accept", "skip"]


async def test_the_keyboard_forgets_what_was_typed_and_gives_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        before = termios.tcgetattr(theirs)
        with Keyboard() as keys:
            os.write(ours, b"rrr")
            assert select.select([theirs], [], [], 10)[0]
            keys.forget()
            os.write(ours, b"a")
            assert await keys.key() == "a"
            os.write(ours, b"\x04")
            assert await keys.key() == ""
            with keys.lent():
                assert termios.tcgetattr(theirs) == before
        assert termios.tcgetattr(theirs) == before
    os.close(ours)


async def test_it_ends_when_all_is_decided_and_tells_the_precision(tmp_path: Path) -> None:
    rows = [row(f"sure {number} {'ab' * number}") for number in range(30)]
    async with a_store(tmp_path, rows) as store:
        shown = await go_through(store, ["a", "a", "r", "a", "a"], limit=40)
        assert "Of 4 decided rows drawn at random among the kept ones, 3 are good: 75%" in shown
        assert "95 % interval 30% to 95%, Wilson" in shown
        assert "0 left" in shown


async def test_undo_shows_the_row_again_and_goes_back_over_a_restart(tmp_path: Path) -> None:
    async with a_store(tmp_path, ROWS) as store:
        await go_through(store, ["a", "r", "q"])
        shown = await go_through(store, ["u", "a", "q"])
        assert "1 accepted, 1 rejected" in shown.splitlines()[1]
        kinds = [one.kind for one in await store.decision_log(NAME)]
        assert kinds == ["accept", "reject", "undo", "accept"]
        assert sorted((await ends(store)).values()).count("accepted") == 2
        shown = await go_through(store, ["u", "u", "u", "q"], who="bob")
        assert shown.count("nothing of yours to undo") == 3


async def test_an_answer_is_edited_as_text_and_kept_to_the_letter(tmp_path: Path, editor: Editor) -> None:
    editor("text = text.replace('billing', 'refund é\\u2028')")
    given = row("q", "billing\r\n", agreement=0.1)
    async with a_store(tmp_path, [given]) as store:
        await go_through(store, ["e"])
        found = await store.row(await store.version(NAME), given.row_id)
    assert found is not None
    assert found.content["messages"][-1] == {"role": "assistant", "content": "refund é\u2028\r\n", "weight": 1}
    assert found.content["metadata"]["edited_by"] == "ann"
    assert found.end.reason == "edited"


async def test_an_edit_that_cannot_be_one_is_not_lost(tmp_path: Path, editor: Editor) -> None:
    editor("text = '' if turn == 1 else 'first line' + text if turn == 2 else text")
    async with a_store(tmp_path, [row("q", agreement=0.1)]) as store:
        shown = await go_through(store, ["e", "x", "e"])
        assert "says nothing" in shown
        assert "[e]dit again  [d]iscard" in shown
        found = [one async for one in store.rows(await store.version(NAME))]
    # The second time the editor began with the empty text of the first.
    assert found[0].content["response"] == "first line"


async def test_a_discarded_or_unchanged_edit_decides_nothing(tmp_path: Path, editor: Editor) -> None:
    async with a_store(tmp_path, [row("q", agreement=0.1)]) as store:
        editor("text = ''")
        await go_through(store, ["e", "d", "q"])
        editor("pass")
        shown = await go_through(store, ["e", "q"])
        assert "Nothing was changed" in shown
        editor("sys.exit(3)")
        shown = await go_through(store, ["e", "d", "q"])
        assert "ended with 3" in shown
        assert await store.decision_log(NAME) == []


async def test_an_editor_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "/nowhere/editor")
    async with a_store(tmp_path, [row("q", agreement=0.1)]) as store:
        shown = await go_through(store, ["e", "d", "q"])
    assert "/nowhere/editor" in shown
    assert "Set EDITOR" in shown


TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    },
}


async def test_tool_calls_are_edited_as_json_and_held_against_their_schema(tmp_path: Path, editor: Editor) -> None:
    editor(
        "import json\n"
        "text = '[' if turn == 1 else text if turn == 2 and text != '[' else '[]' if turn == 2 else json.dumps([{"
        "'role': 'assistant', 'content': None, 'tool_calls': [{'id': 'c', 'type': 'function', 'function': "
        "{'name': 'find', 'arguments': '{\"q\": 1}' if turn == 3 else '{\"q\": \"y\"}'}}]}])"
    )
    call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"q":"x"}'}}
    content = row("q", tools=[TOOL], agreement=0.1).content
    answer = {"role": "assistant", "content": None, "tool_calls": [call], "weight": 1}
    given = Row({**content, "messages": [content["messages"][0], answer]}, None, WAITS)
    async with a_store(tmp_path, [given]) as store:
        shown = await go_through(store, ["e", "e", "e", "e"])
        found = await store.row(await store.version(NAME), given.row_id)
    assert "this is not JSON" in shown
    assert "array of 1 messages" in shown
    assert "dropped as invalid_tool_arguments" in shown
    assert found is not None
    assert found.content["response"] == '{"name":"find","arguments":{"q": "y"}}'.replace(" ", "")


async def test_hostile_text_cannot_steer_the_terminal(tmp_path: Path) -> None:
    hostile = row(
        HOSTILE,
        f"{HOSTILE} billing",
        end=RowEnd(RowState.REVIEW, "relabel", "no_quorum"),
        original_response=f"recorded {HOSTILE}",
        judge_score=0.7,
        judge_reason=HOSTILE,
        judge_scores={HOSTILE: 5},
        arbiter_reason=HOSTILE,
        source_trace_id=HOSTILE,
        votes=[{"source": HOSTILE, "agrees": False, "answer": [{"role": "assistant", "content": HOSTILE}]}],
        cluster_id=HOSTILE,
        method=HOSTILE,
    )
    async with a_store(tmp_path, [hostile]) as store:
        shown = await go_through(store, ["m", "a"], who=f"ann{HOSTILE}")
    assert not [character for character in shown if character != "\n" and not character.isprintable()]
    assert "[bold red]loud[/]" in shown
    assert "\\u001b[2J" in shown


async def test_recorded_and_new_answer_stand_side_by_side_or_below_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = row("q", "new words", original_response="old words", agreement=0.2, is_changed=True)
    async with a_store(tmp_path, [given]) as store:
        monkeypatch.setenv("COLUMNS", "120")
        wide = await go_through(store, ["q"])
        monkeypatch.setenv("COLUMNS", "80")
        narrow = await go_through(store, ["q"])
    assert any("old words" in line and "new words" in line for line in wide.splitlines())
    lines = [line.strip() for line in narrow.splitlines()]
    assert lines.index("old words") < lines.index("new words")
    assert "why      low_agreement, changed" in lines


async def test_long_messages_are_cut_until_more_is_asked_for(tmp_path: Path) -> None:
    given = row("\n".join(f"line {number}" for number in range(40)), agreement=0.1)
    async with a_store(tmp_path, [given]) as store:
        shown = await go_through(store, ["m", "q"])
    first, _, second = shown.partition("28 more lines")
    assert "line 39" not in first
    assert "line 39" in second


async def test_a_row_that_cannot_be_accepted_says_so_and_stays(tmp_path: Path) -> None:
    content = {**row("q").content, "messages": [{"role": "user", "content": "q"}]}
    async with a_store(tmp_path, [Row(content, None, WAITS)]) as store:
        shown = await go_through(store, ["a", "r"])
        assert "no answer to learn from" in shown
        assert list((await ends(store)).values()) == ["rejected_in_review"]


async def test_nothing_to_review_is_said(tmp_path: Path) -> None:
    async with a_store(tmp_path, [row("q", agreement=0.1)]) as store:
        await go_through(store, ["a"])
        assert "Nothing is left to review here." in await go_through(store, [])
