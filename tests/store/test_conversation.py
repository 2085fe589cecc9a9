import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from store.conversation import CallKeys, Conversation, Turn, stitch
from store.json_text import dumps
from store.tree import chain

START = datetime(2026, 1, 1, tzinfo=UTC)


def call(ref: str, at: int, messages: list[str], *replies: str) -> CallKeys[str]:
    """Make a call from short words: `S…` is a system message, `U…` the user's, anything else the assistant's."""
    request = chain([message(word) for word in messages])
    last = request[-1] if request else None
    return CallKeys(
        ref,
        START + timedelta(seconds=at),
        tuple(link.key for link in request),
        tuple(chain([message(reply)], after=last)[0].key for reply in replies),
    )


def message(word: str) -> bytes:
    role = {"S": "system", "U": "user"}.get(word[0], "assistant")
    return dumps({"role": role, "content": word})


def leaves(conversations: list[Conversation[str]]) -> list[str]:
    return [conversation.ref for conversation in conversations]


def test_a_chat_recorded_call_by_call_is_one_conversation() -> None:
    history = ["S"]
    calls = []
    for turn in range(12):
        history.append(f"U{turn}")
        calls.append(call(f"c{turn}", turn, list(history), f"A{turn}"))
        history.append(f"A{turn}")
    [conversation] = stitch(calls)
    assert conversation.ref == "c11"
    assert conversation.members == tuple(f"c{turn}" for turn in range(12))
    assert conversation.turns == tuple(Turn(2 * turn + 2, f"c{turn}", 0) for turn in range(11))


def test_a_regeneration_is_a_fork_in_one_tree() -> None:
    first, again = call("a", 0, ["S", "U"], "A"), call("b", 1, ["S", "U"], "B")
    after = call("c", 2, ["S", "U", "B", "U2"], "C")
    conversations = stitch([first, again, after])
    assert leaves(conversations) == ["a", "c"]
    assert conversations[1].members == ("b", "c")
    assert len({conversation.tree for conversation in conversations}) == 1


def test_an_edited_question_is_a_fork_and_keeps_both_leaves() -> None:
    calls = [
        call("root", 0, ["S", "U"], "A"),
        call("left", 1, ["S", "U", "A", "U1"], "B"),
        call("right", 2, ["S", "U", "A", "U2"], "C"),
    ]
    conversations = stitch(calls)
    assert leaves(conversations) == ["left", "right"]
    assert conversations[0].tree == conversations[1].tree


def test_a_shared_system_prompt_alone_joins_nothing() -> None:
    one, two = stitch([call("one", 0, ["S", "U1"], "A"), call("two", 1, ["S", "U2"], "A")])
    assert one.tree != two.tree


def test_a_turn_that_was_not_captured_is_named_when_positions_are_known() -> None:
    first = call("first", 0, ["U"], "A")
    keys = call("last", 1, ["U", "A", "U2", "lost", "U3"], "C")
    last = CallKeys(keys.ref, keys.created_at, keys.prefix_keys, keys.reply_keys, assistant_positions=(1, 3))
    [conversation] = stitch([last, first])
    assert conversation.turns == (Turn(1, "first", 0), Turn(3, None, None))


def test_any_of_several_choices_can_be_the_one_that_goes_on() -> None:
    [conversation] = stitch([call("many", 0, ["U"], "A", "B"), call("next", 1, ["U", "B", "U2"], "C")])
    assert conversation.turns == (Turn(1, "many", 1),)


def test_a_request_that_ends_with_an_earlier_reply_continues_it() -> None:
    [conversation] = stitch([call("first", 0, ["U"], "A"), call("more", 1, ["U", "A"], "B")])
    assert conversation.members == ("first", "more")


def test_a_child_belongs_to_the_latest_of_identical_calls_before_it() -> None:
    calls = [
        call("early", 0, ["U"], "A"),
        call("child", 1, ["U", "A", "U2"], "B"),
        call("late", 2, ["U"], "A"),
        call("other child", 3, ["U", "A", "U3"], "B"),
    ]
    members = {conversation.ref: conversation.members for conversation in stitch(calls)}
    assert members == {"child": ("early", "child"), "other child": ("late", "other child")}


def test_calls_without_messages_or_replies_are_conversations_of_their_own() -> None:
    conversations = stitch([call("empty", 0, []), call("void", 1, []), call("failed", 2, ["U"])])
    assert leaves(conversations) == ["empty", "void", "failed"]
    assert len({conversation.tree for conversation in conversations}) == 3


def test_the_tree_keeps_its_name_when_later_calls_join() -> None:
    root = call("root", 0, ["S", "U"], "A")
    grown = [root, call("next", 1, ["S", "U", "A", "U2"], "B"), call("again", 2, ["S", "U"], "C")]
    assert {conversation.tree for conversation in stitch(grown)} == {stitch([root])[0].tree}


@st.composite
def grown_trees(draw: st.DrawFn) -> list[CallKeys[str]]:
    calls: list[CallKeys[str]] = []
    ends: list[list[str]] = [[]]
    for number in range(draw(st.integers(1, 20))):
        history = [*draw(st.sampled_from(ends)), f"U{draw(st.integers(0, 2))}"]
        reply = f"A{draw(st.integers(0, 2))}"
        # Few distinct times, so that ties happen.
        calls.append(call(f"c{number}", draw(st.integers(0, 3)), history, reply))
        ends.append([*history, reply])
    return calls


@given(grown_trees(), st.randoms(use_true_random=False))
def test_the_order_of_calls_does_not_matter_and_none_is_lost(calls: list[CallKeys[str]], chance: random.Random) -> None:
    expected = stitch(calls)
    shuffled = list(calls)
    chance.shuffle(shuffled)
    assert stitch(shuffled) == expected
    assert {ref for conversation in expected for ref in conversation.members} == {call.ref for call in calls}
    by_ref = {call.ref: call for call in calls}
    for conversation in expected:
        lengths = [len(by_ref[ref].prefix_keys) for ref in conversation.members]
        assert lengths == sorted(set(lengths))
        for turn in conversation.turns:
            assert turn.ref is not None
            assert turn.choice is not None
            maker = by_ref[turn.ref]
            assert maker.reply_keys[turn.choice] == by_ref[conversation.ref].prefix_keys[turn.position]
