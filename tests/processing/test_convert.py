"""The vectors: S system, U user, A assistant text, C assistant call, T tool result, `*` a target.

`CC` stands for one assistant message with two parallel calls.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from processing.convert import SkipReason, convert, skip_reason
from processing.dedup import group_conversations
from processing.example import Conversation, Example
from store.recorded.message import Json, Message, ToolCall, Turn
from store.recorded.message_form import to_openai


def message_of(letter: str, position: int) -> Message:
    calls = tuple(ToolCall("f", "{}", f"call_{position}_{number}") for number in range(letter.count("C")))
    roles = {"S": "system", "U": "user", "A": "assistant", "C": "assistant", "T": "tool", "E": "assistant"}
    content = None if calls or letter == "E" else f"{letter}{position}"
    return Message(roles[letter[0]], content, calls)


def conversation_of(notation: str, turns: dict[int, Turn] | None = None, name: str = "c") -> Conversation:
    messages = tuple(message_of(letter, position) for position, letter in enumerate(notation.split()))
    return Conversation(id=name, messages=messages, tree="tree", source="f:1", turns=turns or {})


def notation_of(conversation: Conversation, example: Example) -> str:
    letters = ["S", "U", "A", "C", "T"]
    written = []
    for position, message in enumerate(example.messages):
        letter = {"system": "S", "user": "U", "tool": "T"}.get(message.role, "A")
        letter = "C" * len(message.tool_calls) if message.tool_calls else letter
        assert letter[0] in letters
        written.append(letter + ("*" if position in example.targets else ""))
        assert message in conversation.messages
    return " ".join(written)


VECTORS = [
    ("S U A U A", ["S U A*", "S U A U A*"], ["S U A* U A*"], 0),
    ("S U C T A", ["S U C*", "S U C T A*"], ["S U C* T A*"], 0),
    ("S U CC T T A U", ["S U CC*", "S U CC T T A*"], ["S U CC* T T A*"], 1),
    ("S U C T", ["S U C*"], ["S U C*"], 1),
    ("S U", [], [], 0),
    ("S", [], [], 0),
    ("U A A", ["U A*", "U A A*"], ["U A* A*"], 0),
]


@pytest.mark.parametrize(("notation", "single", "whole", "trailing"), VECTORS, ids=[vector[0] for vector in VECTORS])
def test_the_documented_vectors(notation: str, single: list[str], whole: list[str], trailing: int) -> None:
    conversation = conversation_of(notation)
    for is_single, expected in ((True, single), (False, whole)):
        converted = convert([conversation], single_turn=is_single)
        assert [notation_of(conversation, example) for example in converted.examples] == expected
        assert converted.trailing_messages == trailing
        assert converted.without_example == ({} if expected else {"c": SkipReason.NO_ASSISTANT_TURN})
        assert converted.reasons == ({} if expected else {"no_assistant_turn": 1})


def test_the_seeds_banking_conversation_gives_its_two_documented_examples() -> None:
    lines = (Path(__file__).parent / "data" / "seeds" / "banking_conversation.txt").read_text().splitlines()
    spoken = [(role, text.strip(' "')) for role, _, text in (line.partition(":") for line in lines)]
    assert [role for role, _ in spoken] == ["system", "user", "assistant", "user", "assistant"]
    conversation = Conversation("c", tuple(Message(role, text) for role, text in spoken), "t", "f:1")
    first, second = convert([conversation], single_turn=True).examples
    assert [(message.role, message.content) for message in first.messages] == spoken[:3]
    assert [(message.role, message.content) for message in second.messages] == spoken
    assert (first.targets, second.targets) == ((2,), (4,))
    (whole,) = convert([conversation], single_turn=False).examples
    assert [(message.role, message.content) for message in whole.messages] == spoken
    assert whole.targets == (2, 4)


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        (Turn(finish_reason="length"), SkipReason.LENGTH),
        (Turn(finish_reason="content_filter"), SkipReason.CONTENT_FILTER),
        (Turn(finish_reason="max_tokens"), SkipReason.LENGTH),
        (Turn(finish_reason="max_output_tokens"), SkipReason.LENGTH),
        (Turn(finish_reason="refusal"), SkipReason.CONTENT_FILTER),
        (Turn(outcome="client_disconnect"), SkipReason.INCOMPLETE),
    ],
)
def test_a_reply_that_was_cut_short_is_history_and_never_a_target(turn: Json, reason: Json) -> None:
    conversation = conversation_of("U A U A", {1: turn, 3: Turn(outcome="completed", finish_reason="stop")})
    converted = convert([conversation], single_turn=True)
    assert [notation_of(conversation, example) for example in converted.examples] == ["U A U A*"]
    assert converted.reasons == {str(reason): 1}
    (whole,) = convert([conversation], single_turn=False).examples
    assert whole.targets == (3,)


def test_an_empty_reply_is_neither_target_nor_history_and_turns_keep_their_message() -> None:
    conversation = conversation_of("U E U A", {1: Turn("t1"), 3: Turn("t3")})
    (example,) = convert([conversation], single_turn=True).examples
    assert notation_of(conversation, example) == "U U A*"
    assert example.turns == {2: Turn("t3")}


def test_a_whole_conversation_ends_with_its_last_target() -> None:
    conversation = conversation_of("U A U A", {3: Turn(finish_reason="length")})
    (example,) = convert([conversation], single_turn=False).examples
    assert notation_of(conversation, example) == "U A*"


def test_a_conversation_without_any_target_tells_the_reason() -> None:
    converted = convert([conversation_of("U E")], single_turn=False)
    assert (converted.examples, converted.without_example) == ((), {"c": SkipReason.EMPTY_REPLY})


@pytest.mark.parametrize(
    ("message", "is_target"),
    [
        (Message("assistant", ""), False),
        (Message("assistant", " \n"), False),
        (Message("assistant", []), False),
        (Message("assistant", [{"type": "text", "text": ""}]), False),
        (Message("assistant", None, (ToolCall("f", ""),)), True),
        (Message("assistant", None, refusal="no"), True),
        (Message("assistant", [{"type": "audio"}]), True),
    ],
)
def test_what_counts_as_an_empty_reply(message: Message, is_target: bool) -> None:
    conversation = replace(conversation_of("U A"), messages=(Message("user", "q"), message))
    assert (skip_reason(conversation, 1) is None) is is_target


def test_a_message_that_nothing_came_before_is_history_and_no_target() -> None:
    """A greeting: there is no input from which to learn it, and most servers refuse a request without one."""
    converted = convert([conversation_of("S A U A")], single_turn=True)
    assert [example.targets for example in converted.examples] == [(3,)]
    assert converted.reasons == {"not_asked": 1}
    alone = convert([conversation_of("S A")], single_turn=False)
    assert (alone.examples, list(alone.without_example.values())) == ((), ["not_asked"])


def test_leading_system_messages_go_when_asked_and_positions_follow() -> None:
    conversation = conversation_of("S S U A S U A", {3: Turn("a"), 6: Turn("b")})
    first, second = convert([conversation], single_turn=True, remove_system_prompt=True).examples
    assert notation_of(conversation, first) == "U A*"
    assert notation_of(conversation, second) == "U A S U A*"
    assert second.turns == {1: Turn("a"), 4: Turn("b")}


def test_turns_shared_by_two_forks_are_one_example() -> None:
    shared = conversation_of("U A U A", name="one")
    other = Conversation("two", (*shared.messages[:3], Message("assistant", "other")), "tree", "f:2")
    converted = convert([shared, other], single_turn=True)
    assert len(converted.examples) == 3
    assert converted.reasons == {"repeated": 1}
    assert converted.without_example == {}


def test_every_target_is_an_example_or_a_skip() -> None:
    conversations = [conversation_of(vector[0], name=str(number)) for number, vector in enumerate(VECTORS)]
    converted = convert(conversations, single_turn=True)
    assistants = sum(message.role == "assistant" for c in conversations for message in c.messages)
    targets = sum(skip.position is not None for skip in converted.skipped)
    assert len(converted.examples) + targets == assistants


def test_ids_come_from_content_alone() -> None:
    first, again = (conversation_of("S U A", name=name) for name in ("x", "y"))
    one, other = (convert([c], single_turn=True).examples[0] for c in (first, again))
    assert one.id == other.id
    assert one.id != convert([conversation_of("U A")], single_turn=True).examples[0].id


def test_examples_carry_the_group_they_are_given() -> None:
    conversation = conversation_of("U A")
    groups = group_conversations([conversation])
    assert convert([conversation], single_turn=True, groups=groups).examples[0].group == groups["c"]
    assert convert([conversation], single_turn=True).examples[0].group == "tree"


def test_history_is_written_as_it_was_recorded() -> None:
    conversation = conversation_of("S U C T A")
    example = convert([conversation], single_turn=True).examples[1]
    assert [to_openai(m) for m in example.messages] == [to_openai(m) for m in conversation.messages]
