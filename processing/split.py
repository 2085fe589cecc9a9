"""Train and test: whole groups, each on the side that its own name decides.

Two wishes pull apart. The configuration asks for *numbers* of conversations (200 for test, 200 for train), but a
group's side should depend on hash(seed, group) alone, so that it never moves when data grow; filling test first and
train after would move groups whenever a newcomer hashes lower. So the numbers are read twice:

1. their ratio is a *share*, test / (test + train), fixed by the configuration. A group's hash is a number in [0, 1);
   below the share it belongs to test, else to train. No other group is looked at.
2. within its side, groups are taken in hash order until the wanted number of conversations is reached. The rest of that
   side is *unstructured*; it is never handed to the other side, since it would move.

With fewer conversations than wanted both sides shrink in proportion. With more, both fill. In between one side may come
out a little short although conversations are left over: that is the price, and the result tells the real numbers. A
group larger than what is still wanted gives its first conversations and leaves the others unstructured.

Small strata (classes, tools) should stand in both parts, which cannot be had by moving groups: it would take a look at
the others. What can be chosen freely is who of a side is taken in step 2. So of each stratum the first few
conversations of a side in hash order are taken before all others; no group changes sides for it, and strata that are
not small are not touched. With fewer conversations than wanted everything is taken and nothing is balanced.

The one exception: when all groups fall on the same side and there are at least two, the group nearest to the share
changes sides, since a run without train or test is of no use to anybody. Only a handful of groups can come to that.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

from processing.dedup import prompt_document, prompt_key
from processing.errors import SplitError
from processing.example import Example
from processing.metrics import answer_text
from processing.near_text import TextDocument, near_matches
from processing.strata import stratum_of

_HASH_BITS = 64
_LEAST_OF_A_STRATUM = 5
"""Conversations of each class or tool that a part gets before any other, where there are so many."""
_WORDS_IN_A_ROW = 12
"""As is usual where training data are cleaned of test sets (Brown et al., arXiv:2005.14165, took 13)."""
_WORD = re.compile(r"\w+")


class Part(StrEnum):
    """Where an example goes."""

    TRAIN = "train"
    TEST = "test"
    UNSTRUCTURED = "unstructured"


@dataclass(frozen=True, slots=True)
class Leakage:
    """What train and test share, measured on the finished parts.

    Attributes:
        groups: Groups with examples in both.
        exact: Test examples whose prompt (messages before the first target, tools) stands in train too.
        near: Test examples whose prompt is a near duplicate of one in train, the exact ones included.
        overlapping: Test examples whose recorded answer shares twelve words in a row with one in train. A wording that
            an application repeats does so too: it tells where to look, not that something leaks.
    """

    groups: int
    exact: int
    near: int
    overlapping: int = 0

    @property
    def is_free(self) -> bool:
        """Whether no prompt leaks; answers may be worded alike for other reasons."""
        return not (self.groups or self.exact or self.near)


@dataclass(frozen=True, slots=True)
class Split:
    """The parts, each in the order the examples came in.

    Attributes:
        train: To learn from.
        test: To measure with; the curated test set when there is one.
        unstructured: The rest.
        removed: Examples that left train because they are near duplicates of the curated test set: own id → id of the
            test example that is alike.
        moved: Group that changed sides so that neither is empty; None as a rule.
        leakage: Measured, not assumed.
    """

    train: tuple[Example, ...]
    test: tuple[Example, ...]
    unstructured: tuple[Example, ...]
    removed: Mapping[str, str]
    moved: str | None
    leakage: Leakage

    @property
    def conversations(self) -> dict[str, int]:
        """Conversations in each part: the size that counts, since examples of one conversation are not independent."""
        parts = {Part.TRAIN: self.train, Part.TEST: self.test, Part.UNSTRUCTURED: self.unstructured}
        return {str(part): len({example.conversation_id for example in examples}) for part, examples in parts.items()}


def split(
    examples: Sequence[Example],
    *,
    train: int,
    test: int,
    seed: int | None,
    curated: Sequence[Example] = (),
    is_labelled: bool = False,
) -> Split:
    """Share out examples between train, test and unstructured.

    Args:
        examples: Of any order; `group` says what stays together.
        train: Conversations wanted for train.
        test: Conversations wanted for test; without effect when there is a curated test set.
        seed: Part of every hash; None counts as the text "None", so it too gives the same split each time.
        curated: A test set of the person's own. It is the test part, unchanged; what is like it leaves train.
        is_labelled: Whether answers are labels, each of which should stand in both parts.

    Raises:
        SplitError: A number is negative, or there are examples and none is wanted anywhere.
    """
    wanted_test = 0 if curated else test
    if train < 0 or test < 0 or (examples and train + wanted_test == 0):
        raise SplitError(
            f"train {train} and test {test} conversations are wanted; neither may be negative and one must be above 0."
        )
    removed = _alike(examples, curated)
    left = [example for example in examples if example.id not in removed]
    sides, moved = _sides(sorted({example.group for example in left}), train, wanted_test, seed)
    chosen = {
        **_choose(left, sides, Part.TEST, wanted_test, seed, is_labelled=is_labelled),
        **_choose(left, sides, Part.TRAIN, train, seed, is_labelled=is_labelled),
    }
    parts: dict[Part, list[Example]] = {part: [] for part in Part}
    for example in left:
        parts[chosen.get(example.conversation_id, Part.UNSTRUCTURED)].append(example)
    tested = tuple(curated) or tuple(parts[Part.TEST])
    trained = tuple(parts[Part.TRAIN])
    return Split(trained, tested, tuple(parts[Part.UNSTRUCTURED]), removed, moved, measure_leakage(trained, tested))


def position_of(group: str, seed: int | None) -> float:
    """Where a group stands in [0, 1): a hash of the seed and its name, and of nothing else."""
    digest = blake2b(f"{seed}\n{group}".encode(), digest_size=_HASH_BITS // 8).digest()
    # The upper 53 bits: all that a float holds exactly, so that 1.0 is never reached.
    return (int.from_bytes(digest, "big") >> (_HASH_BITS - 53)) / 2**53


def measure_leakage(train: Iterable[Example], test: Iterable[Example]) -> Leakage:
    """Count what two parts share: groups, equal prompts, near duplicate prompts."""
    trained, tested = list(train), list(test)
    groups = {example.group for example in trained} & {example.group for example in tested}
    equal = _equal(tested, trained)
    return Leakage(len(groups), len(equal), len(_alike(tested, trained)), _overlapping(tested, trained))


def _sides(groups: Sequence[str], train: int, test: int, seed: int | None) -> tuple[dict[str, Part], str | None]:
    share = test / (train + test) if train + test else 0.0
    sides = {group: Part.TEST if position_of(group, seed) < share else Part.TRAIN for group in groups}
    if len(groups) < 2 or not train or not test or len(set(sides.values())) == 2:
        return sides, None
    nearest = min(groups, key=lambda group: (abs(position_of(group, seed) - share), group))
    sides[nearest] = Part.TRAIN if sides[nearest] is Part.TEST else Part.TEST
    return sides, nearest


def _choose(
    examples: Iterable[Example],
    sides: Mapping[str, Part],
    side: Part,
    wanted: int,
    seed: int | None,
    *,
    is_labelled: bool,
) -> dict[str, Part]:
    """Take conversations of one side, group by group in hash order, until there are enough; small strata go first."""
    conversations: dict[str, set[str]] = defaultdict(set)
    strata: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        if sides[example.group] is side:
            conversations[example.group].add(example.conversation_id)
            strata[example.conversation_id].add(stratum_of(example, is_labelled=is_labelled))
    order = sorted(conversations, key=lambda group: (position_of(group, seed), group))
    waiting = [conversation for group in order for conversation in sorted(conversations[group])]
    first = _first_of_each(waiting, strata, wanted)
    taken = [*first, *(conversation for conversation in waiting if conversation not in first)][:wanted]
    return dict.fromkeys(taken, side)


def _first_of_each(waiting: Sequence[str], strata: Mapping[str, Iterable[str]], wanted: int) -> dict[str, None]:
    """The first few conversations of each stratum, the rarest stratum first."""
    members: dict[str, list[str]] = defaultdict(list)
    for conversation in waiting:
        for stratum in strata[conversation]:
            members[stratum].append(conversation)
    if len(members) < 2 or len(waiting) <= wanted:
        return {}
    share = max(1, min(_LEAST_OF_A_STRATUM, wanted // len(members)))
    rarest = sorted(members, key=lambda stratum: (len(members[stratum]), stratum))
    return dict.fromkeys(conversation for stratum in rarest for conversation in members[stratum][:share])


def _equal(examples: Iterable[Example], others: Iterable[Example]) -> dict[str, str]:
    known: dict[bytes, str] = {}
    for other in others:
        known.setdefault(_prompt(other), other.id)
    return {example.id: known[key] for example in examples if (key := _prompt(example)) in known}


def _alike(examples: Sequence[Example], others: Sequence[Example]) -> dict[str, str]:
    """Examples whose prompt equals or nearly equals one of the others': id → id of the other."""
    if not others:
        return {}
    found = near_matches(_documents(examples), _documents(others))
    return {**found, **_equal(examples, others)}


def _overlapping(examples: Iterable[Example], others: Iterable[Example]) -> int:
    """Count examples of which some answer shares a run of words with an answer of the others."""
    owners: dict[int, set[str]] = defaultdict(set)
    for example in examples:
        for run in _runs(example):
            owners[run].add(example.id)
    found: set[str] = set()
    for other in others:
        found.update(owner for run in _runs(other) if run in owners for owner in owners[run])
    return len(found)


def _runs(example: Example) -> Iterator[int]:
    """Every twelve words in a row of the answers, as hashes: too many texts to keep."""
    for target in example.targets:
        words = _WORD.findall(answer_text(example.messages[target]).casefold())
        for start in range(len(words) - _WORDS_IN_A_ROW + 1):
            yield hash(tuple(words[start : start + _WORDS_IN_A_ROW]))


def _documents(examples: Iterable[Example]) -> Iterator[TextDocument]:
    for example in examples:
        yield prompt_document(example.id, example.messages[: example.targets[0]], example.tools)


def _prompt(example: Example) -> bytes:
    return prompt_key(example.messages[: example.targets[0]], example.tools)
