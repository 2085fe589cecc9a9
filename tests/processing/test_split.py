import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processing.convert import convert
from processing.dedup import group_conversations
from processing.errors import SplitError
from processing.example import Conversation, Example
from processing.split import measure_leakage, position_of, split
from store.recorded.message import Json, Message, ToolCall


def example(name: str, group: str | None = None, conversation: str | None = None, text: str | None = None) -> Example:
    messages = (Message("user", text or f"question {name}"), Message("assistant", "a"))
    return Example(name, conversation or name, group or name, messages, (1,), f"f:{name}")


def examples(count: int, start: int = 0) -> list[Example]:
    rng = random.Random(start)
    return [
        example(f"e{n}", text=" ".join(f"w{rng.randrange(9**9)}" for _ in range(9)))
        for n in range(start, start + count)
    ]


def names(part: Json) -> set[str]:
    return {item.id for item in part}


def test_enough_data_fill_both_sides_with_the_wanted_conversations() -> None:
    result = split(examples(1000), train=200, test=100, seed=1)
    assert result.conversations == {"train": 200, "test": 100, "unstructured": 700}
    assert result.leakage.is_free


def test_too_few_data_shrink_both_sides_in_proportion() -> None:
    result = split(examples(300), train=1000, test=500, seed=1)
    counts = result.conversations
    assert counts["unstructured"] == 0
    assert 75 <= counts["test"] <= 125


def test_a_group_never_changes_sides_when_data_grow() -> None:
    before, after = (split(examples(count), train=100, test=100, seed=7) for count in (300, 900))
    assert not names(before.test) & names(after.train)
    assert not names(before.train) & names(after.test)


def test_the_side_follows_from_seed_and_group_alone() -> None:
    assert position_of("g", 1) == position_of("g", 1)
    assert position_of("g", 1) != position_of("g", 2)
    result = split(examples(100), train=100, test=100, seed=3)
    assert all(position_of(item.group, 3) < 0.5 for item in result.test)
    assert all(position_of(item.group, 3) >= 0.5 for item in result.train)


def test_order_does_not_matter_and_the_seed_does() -> None:
    items = examples(100)
    forward, backward = (split(order, train=20, test=20, seed=1) for order in (items, items[::-1]))
    assert names(forward.train) == names(backward.train)
    assert names(forward.train) != names(split(items, train=20, test=20, seed=2).train)


def test_counts_are_conversations_and_not_examples() -> None:
    items = [
        replace(item, id=f"{item.id}.{turn}", conversation_id=item.id) for item in examples(60) for turn in range(9)
    ]
    result = split(items, train=10, test=10, seed=1)
    assert result.conversations == {"train": 10, "test": 10, "unstructured": 40}
    assert (len(result.train), len(result.test)) == (90, 90)


def test_a_group_larger_than_wanted_stays_on_its_side() -> None:
    items = [example(f"e{n}", group="big") for n in range(50)] + examples(20, start=100)
    result = split(items, train=5, test=5, seed=1)
    big = {item.id for item in items if item.group == "big"}
    assert not (big & names(result.train) and big & names(result.test))
    assert max(result.conversations["train"], result.conversations["test"]) <= 5


@pytest.mark.parametrize("seed", range(20))
def test_two_groups_are_enough_for_both_sides(seed: int) -> None:
    result = split(examples(2), train=200, test=200, seed=seed)
    assert (len(result.train), len(result.test)) == (1, 1)


def test_a_single_group_is_never_cut() -> None:
    result = split([example("a", group="g"), example("b", group="g")], train=1, test=1, seed=1)
    assert 0 in (len(result.train), len(result.test))


def test_a_curated_test_set_is_used_as_it_is_and_what_is_like_it_leaves_train() -> None:
    text = " ".join(f"word{n}" for n in range(40))
    items = [*examples(30), example("near", text=text + " more"), example("same", text=text)]
    curated = [example("mine", text=text)]
    result = split(items, train=100, test=100, seed=1, curated=curated)
    assert result.test == tuple(curated)
    assert result.removed == {"near": "mine", "same": "mine"}
    assert len(result.train) == 30
    assert result.leakage.is_free


def test_leakage_is_measured_and_not_assumed() -> None:
    text = " ".join(f"word{n}" for n in range(40))
    train = [example("a", group="g", text=text), *examples(3)]
    test = [example("b", group="g", text=text), example("c", text=text + " more"), example("d", text="something else")]
    leakage = measure_leakage(train, test)
    assert (leakage.groups, leakage.exact, leakage.near) == (1, 1, 2)
    assert not leakage.is_free


def planted(kind: str, number: int, rng: random.Random) -> list[Conversation]:
    """Two conversations that must not part: nearly the same, one the beginning of the other, or regenerated."""
    words = [f"w{rng.randrange(999)}" for _ in range(30)]
    changed = [*words[:12], "changed", *words[13:]] if kind == "near" else words
    pair = []
    for twin, spoken in enumerate((words, changed)):
        answer = " ".join(f"a{rng.randrange(9999)}" for _ in range(20))
        messages = [Message("system", "s"), Message("user", " ".join(spoken)), Message("assistant", answer)]
        if twin and kind == "prefix":
            messages += [Message("user", f"and {number}?"), Message("assistant", f"b{number}")]
        name = f"{kind}.{number}.{twin}"
        pair.append(Conversation(name, tuple(messages), name, "f"))
    return pair


@pytest.mark.parametrize("kind", ["near", "prefix", "regenerated"])
@pytest.mark.parametrize("seed", [1, 2])
def test_500_planted_pairs_never_cross_the_split(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    conversations = [one for number in range(500) for one in planted(kind, number, rng)]
    groups = group_conversations(conversations)
    result = split(convert(conversations, single_turn=True, groups=groups).examples, train=500, test=500, seed=seed)
    sides = {item.conversation_id: "train" for item in result.train} | {
        item.conversation_id: "test" for item in result.test
    }
    crossed = [n for n in range(500) if len({sides.get(f"{kind}.{n}.{twin}", "") for twin in (0, 1)} - {""}) > 1]
    assert crossed == []
    assert result.leakage.is_free
    assert result.leakage.overlapping == 0
    assert min(result.conversations["train"], result.conversations["test"]) > 400


def test_answers_with_twelve_words_in_a_row_in_common_are_counted() -> None:
    said = [f"word{n}" for n in range(30)]

    def answering(name: str, words: list[str]) -> Example:
        asked = example(name)
        return replace(asked, messages=(asked.messages[0], Message("assistant", " ".join(words))))

    train = [answering("a", said)]
    test = [
        answering("b", ["Well,", *said[3:15], "so"]),
        answering("c", [*said[3:14], "otherwise"]),
        answering("d", [word.upper() for word in said]),
    ]
    assert measure_leakage(train, test).overlapping == 2
    assert measure_leakage(train, test).is_free


def labelled(label: str, count: int) -> list[Example]:
    made = []
    for number in range(count):
        asked = example(f"{label}{number}", text=f"question {label} {number * 7919}")
        made.append(replace(asked, messages=(asked.messages[0], Message("assistant", label))))
    return made


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_class_stands_in_both_parts(seed: int) -> None:
    items = [*labelled("usual", 2000), *labelled("Rare", 12)]
    result = split(items, train=60, test=60, seed=seed, is_labelled=True)
    for part in (result.train, result.test):
        assert len(part) == 60
        on_side = [one for one in items if (position_of(one.group, seed) < 0.5) == (part is result.test)]
        there = sum(one.messages[-1].content == "Rare" for one in on_side)
        assert sum(one.messages[-1].content == "Rare" for one in part) >= min(5, there)


def test_balancing_moves_no_group_to_the_other_side() -> None:
    items = [*labelled("usual", 500), *labelled("rare", 20)]
    plain, balanced = (
        split(items, train=50, test=50, seed=3, is_labelled=is_labelled) for is_labelled in (False, True)
    )
    assert not names(plain.train) & names(balanced.test)
    assert not names(plain.test) & names(balanced.train)


def test_a_tool_that_is_seldom_called_stands_in_test() -> None:
    def calling(name: str, tool: str) -> Example:
        asked = example(name, text=f"{name} please")
        return replace(asked, messages=(asked.messages[0], Message("assistant", None, (ToolCall(tool, "{}"),))))

    items = [calling(f"often{n}", "often") for n in range(900)] + [calling(f"seldom{n}", "seldom") for n in range(20)]
    result = split(items, train=30, test=30, seed=1)
    assert sum(one.id.startswith("seldom") for one in result.test) >= 5


@pytest.mark.parametrize("wanted", [{"train": -1, "test": 1}, {"train": 0, "test": 0}])
def test_impossible_numbers_are_refused(wanted: Json) -> None:
    with pytest.raises(SplitError, match="conversations are wanted"):
        split(examples(3), **wanted, seed=1)


def test_no_examples_make_empty_parts() -> None:
    assert split([], train=0, test=0, seed=None).conversations == {"train": 0, "test": 0, "unstructured": 0}


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=25),
    st.integers(0, 8),
    st.integers(1, 8),
    st.none() | st.integers(),
)
def test_every_example_is_in_one_part_and_no_group_in_two(shape: Json, train: int, test: int, seed: int) -> None:
    items = [example(f"e{n}", f"g{group}", f"g{group}c{c}", text=f"t{group}") for n, (group, c) in enumerate(shape)]
    result = split(items, train=train, test=test, seed=seed)
    ids = [item.id for part in (result.train, result.test, result.unstructured) for item in part]
    assert sorted(ids) == sorted(names(items))
    assert result.leakage.groups == 0
    assert result.conversations["train"] <= train
    assert result.conversations["test"] <= test
