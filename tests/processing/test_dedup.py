import random

from hypothesis import given
from hypothesis import strategies as st

from processing.dedup import content_key, drop_exact, group_conversations
from processing.example import Conversation
from processing.near_text import SIMILARITY, TextDocument, near_matches, near_pairs, similarity
from store.recorded.message import Json, Message, ToolCall

WORDS = [
    f"{first}{second}"
    for first in ("ba", "ko", "mi", "tu", "re", "sa", "lo", "ne")
    for second in ("rin", "dal", "pek", "sot", "vum", "gax")
]


def conversation(
    name: str, *spoken: str, system: str | None = "be kind", tools: list[Json] | None = None, tree: str | None = None
) -> Conversation:
    messages = [Message("system", system)] if system is not None else []
    messages += [Message("user" if number % 2 == 0 else "assistant", text) for number, text in enumerate(spoken)]
    return Conversation(name, tuple(messages), tree or name, f"f:{name}", tools)


def sentence(seed: int, count: int = 25) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def together(groups: Json, *names: Json) -> bool:
    return len({groups[name] for name in names}) == 1


def test_ids_and_white_space_do_not_make_a_difference() -> None:
    def called(call_id: str, arguments: str) -> Conversation:
        call = Message("assistant", None, (ToolCall("f", arguments, call_id),))
        return Conversation("x", (Message("user", "go"), call, Message("tool", "1", tool_call_id=call_id)), "t", "s")

    assert content_key(called("a", '{"x": 1, "y": 2}')) == content_key(called("b", '{"y":2,"x":1}'))
    assert content_key(called("a", '{"x": 1}')) != content_key(called("a", '{"x": 2}'))
    assert content_key(conversation("a", "hi  there", "yo")) == content_key(conversation("b", "hi\nthere ", "yo"))


def test_the_first_of_equal_ones_is_kept_and_named() -> None:
    items = [conversation("a", "hi", "yo"), conversation("b", "hi ", "yo"), conversation("c", "hi", "hey")]
    distinct = drop_exact(items)
    assert [item.id for item in distinct.kept] == ["a", "c"]
    assert distinct.duplicate_of == {"b": "a"}
    assert distinct.dropped == 1


def test_other_tools_are_other_content() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    assert drop_exact([conversation("a", "hi"), conversation("b", "hi", tools=[tool])]).dropped == 0


def test_a_small_change_of_a_long_question_is_one_group_and_another_question_is_not() -> None:
    question = sentence(1)
    groups = group_conversations(
        [
            conversation("a", question, "x"),
            conversation("b", question + " please", "y"),
            conversation("c", sentence(2), "x"),
        ]
    )
    assert together(groups, "a", "b")
    assert not together(groups, "a", "c")


def test_a_tree_and_a_shared_opening_stay_together() -> None:
    groups = group_conversations(
        [
            conversation("a", "hi", "yo", sentence(1), "x", tree="one"),
            conversation("b", sentence(2), "yo", tree="one"),
            conversation("c", "hi", "hey", sentence(3), "x"),
            conversation("d", "hi", "yo", system="be rude"),
        ]
    )
    assert together(groups, "a", "b", "c")
    assert not together(groups, "a", "d")


def test_the_same_picture_without_words_is_the_same_opening() -> None:
    picture = Message("user", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}])
    items = [Conversation(name, (picture, Message("assistant", name)), name, "f") for name in ("a", "b")]
    assert together(group_conversations(items), "a", "b")


def test_without_system_prompts_the_same_opening_is_the_same_group() -> None:
    items = [conversation("a", "hi", "yo"), conversation("d", "hi", "yo", system="be rude")]
    assert together(group_conversations(items, without_system=True), "a", "d")


def test_a_date_in_the_system_prompt_does_not_hide_a_near_duplicate() -> None:
    question = sentence(1)
    items = [
        conversation("a", question, system="Today is 2026-11-20."),
        conversation("b", question + " now", system="Today is 2026-11-21."),
    ]
    assert together(group_conversations(items), "a", "b")


def test_a_shared_template_does_not_make_everything_alike() -> None:
    template = (
        "Classify this ticket into one of: billing, technical, feature_request, other. Answer with the class. Ticket: "
    )
    items = [conversation(str(n), template + sentence(n, 4), "billing") for n in range(60)]
    assert len(set(group_conversations(items).values())) > 55


def test_a_group_keeps_its_name_when_its_conversation_goes_on_or_is_regenerated() -> None:
    before = [conversation("a", "what is my balance?", "10"), conversation("b", sentence(5), "x")]
    after = [
        conversation("a2", "what is my balance?", "10", "thanks", "welcome", tree="a"),
        conversation("a3", "what is my balance?", "ten", tree="a"),
        *before[1:],
    ]
    old, new = group_conversations(before), group_conversations(after)
    assert new["a2"] == new["a3"] == old["a"]
    assert new["b"] == old["b"]


def test_planted_near_duplicates_are_found_and_every_pair_is_verified() -> None:
    documents, planted = [], set()
    for number in range(400):
        words = sentence(number).split()
        documents.append(TextDocument(f"{number}", "s", " ".join(words)))
        words[number % len(words)] = "changed"
        documents.append(TextDocument(f"{number}'", "s", " ".join(words)))
        if similarity(documents[-2].text, documents[-1].text) >= SIMILARITY:
            planted.add((f"{number}", f"{number}'"))
    assert len(planted) > 300
    found = {tuple(sorted(pair)) for pair in near_pairs(documents)}
    texts = {document.owner: document.text for document in documents}
    assert len(planted - found) <= len(planted) * 0.01
    assert all(similarity(texts[first], texts[second]) >= SIMILARITY for first, second in found)


def test_scopes_are_not_compared() -> None:
    documents = [TextDocument("a", "one", "the same words"), TextDocument("b", "two", "the same words")]
    assert near_pairs(documents) == []


@given(st.lists(st.lists(st.text("ab ", max_size=8), min_size=1, max_size=4), max_size=6), st.randoms())
def test_groups_do_not_depend_on_the_order(spoken: str, shuffler: Json) -> None:
    items = [conversation(str(number), *texts) for number, texts in enumerate(spoken)]
    shuffled = list(items)
    shuffler.shuffle(shuffled)
    assert group_conversations(items) == group_conversations(shuffled)


@given(st.lists(st.text("ab cd", min_size=0, max_size=40), max_size=12), st.integers(0, 12))
def test_what_is_alike_on_both_sides_is_what_each_pair_alone_says(texts: list[str], cut: int) -> None:
    """The hash may miss a pair, but all that it names is alike; an equal text is never missed."""
    documents = [TextDocument(f"{number}", "one", text) for number, text in enumerate(texts)]
    mine, others = documents[:cut], documents[cut:]
    said = {document.owner: document.text for document in documents}
    matches = near_matches(mine, others)
    for document in mine:
        if document.text and document.text in {other.text for other in others}:
            assert document.owner in matches
    for owner, other in matches.items():
        assert owner in {document.owner for document in mine}
        assert other in {document.owner for document in others}
        assert similarity(said[owner], said[other]) >= SIMILARITY


def test_a_text_that_goes_on_from_another_is_hashed_as_if_alone() -> None:
    """Turns of a conversation share the work of their beginnings; what they are alike to must not depend on that."""
    chance = random.Random(4)
    turns = [" ".join(chance.choices(WORDS, k=20)) for _ in range(8)]
    whole = [TextDocument("whole", "one", " ".join(turns[: end + 1])) for end in range(8)]
    for end in range(8):
        other = [TextDocument("other", "one", " ".join([*turns[: end + 1], "ok"]))]
        assert near_matches(other, whole) == near_matches(other, whole[end : end + 1]) == {"other": "whole"}
