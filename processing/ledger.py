"""Where everything went: each conversation and each example ends exactly once, with a stage and a reason.

At every border between stages what went in must equal what went on plus what ended; if it does not, the run fails and
nothing is published.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from processing.errors import ConservationError
from store.recorded.message import Json


class Kind(StrEnum):
    """What is counted."""

    CONVERSATION = "conversation"
    EXAMPLE = "example"


class State(StrEnum):
    """How a thing ended."""

    KEPT = "kept"
    DROPPED = "dropped"
    FAILED = "failed"
    REVIEW = "review"


class Stage(StrEnum):
    """Where it ended, in the order of the run."""

    RULES = "rules"
    RELEVANCE = "relevance"
    DUPLICATES = "duplicates"
    CONVERT = "convert"
    SPLIT = "split"
    RELABEL = "relabel"
    OUTPUT = "output"


class Reason(StrEnum):
    """Why it ended there. A closed list; the texts are stable."""

    TRAIN = "train"
    """Kept: a row of `train.jsonl`."""
    TEST = "test"
    """Kept: a row of `test.jsonl`."""
    UNSTRUCTURED = "unstructured"
    """Kept: left over by the split, in `unstructured.jsonl`."""
    NO_ASSISTANT_TURN = "no_assistant_turn"
    """The conversation holds no assistant message."""
    INCOMPLETE = "incomplete"
    """The call that wrote the reply did not complete."""
    LENGTH = "length"
    """The reply was cut short by the token limit."""
    CONTENT_FILTER = "content_filter"
    """The reply was cut short by the upstream's content filter."""
    REFUSAL = "refusal"
    """The base model refused."""
    EMPTY_REPLY = "empty_reply"
    """Neither text nor a refusal nor a tool call."""
    NOT_ASKED = "not_asked"
    """Nothing but system messages stands before the reply: there is no input to learn it from."""
    TOO_LONG = "too_long"
    """More characters than `synthgen.validation_max_total_length`."""
    INVALID_TOOL_ARGUMENTS = "invalid_tool_arguments"
    """The arguments of a recorded tool call are not one JSON object."""
    LOW_RELEVANCE = "low_relevance"
    """The teacher's relevance score is below `min_relevance_score`."""
    LOW_COHERENCE = "low_coherence"
    """The teacher's coherence score is below `min_coherence_score`."""
    UNSCORED = "unscored"
    """The teacher gave no usable score, also when asked about this conversation alone."""
    EXACT_DUPLICATE = "exact_duplicate"
    """It says the same as an earlier one, ids and white space aside."""
    REPEATED = "repeated"
    """Another conversation of the same tree already gave this very example."""
    NEAR_TEST = "near_duplicate_of_test"
    """Too like a row of your own test set to stand in train."""
    OVER_MAX_UNSTRUCTURED = "over_max_unstructured"
    """Left over by the split when `max_unstructured` was reached."""
    NO_CANDIDATE = "no_candidate"
    """No member of the committee gave a valid answer, and the recorded one is not valid either."""
    NO_QUORUM = "no_quorum"
    """Fewer than two valid answers: nothing to compare."""
    NONE_CORRECT = "none_correct"
    """The arbiter called every candidate wrong."""
    ORDER_DECIDES = "order_decides"
    """Asked in both orders, the arbiter picked another of the two answers each time."""
    NO_VERDICT = "no_verdict"
    """The arbiter gave no usable verdict."""
    NO_EXAMPLE_KEPT = "no_example_kept"
    """None of the conversation's examples was kept; they tell why."""


@dataclass(frozen=True, slots=True)
class End:
    """How one thing ended.

    Attributes:
        state: Kept, dropped, failed or review.
        stage: Where.
        reason: Why.
        detail: More for a person or a review page: scores, votes, attempts.
    """

    state: State
    stage: Stage
    reason: Reason
    detail: Mapping[str, Json] = field(default_factory=dict)


@dataclass(slots=True)
class StageCount:
    """What one stage did.

    Attributes:
        stage: The stage.
        kind: What it counted.
        entered: How many went in.
        went_on: How many went on to the next stage.
        ended: The others, by state and reason.
    """

    stage: Stage
    kind: Kind
    entered: int
    went_on: int
    ended: dict[str, dict[str, int]]


class Ledger:
    """The ends of all conversations and examples of one run."""

    def __init__(self) -> None:
        self._ends: dict[Kind, dict[str, End | None]] = {kind: {} for kind in Kind}
        self.stages: list[StageCount] = []

    def enter(self, kind: Kind, names: Collection[str]) -> None:
        """Take in what is to be followed from here on.

        Raises:
            ConservationError: A name is in already, or twice.
        """
        known = self._ends[kind]
        for name in names:
            if name in known:
                raise ConservationError(f"{kind} {name} came in twice")
            known[name] = None

    def end(self, kind: Kind, name: str, end: End) -> None:
        """Record the end of one thing.

        Raises:
            ConservationError: It never came in, or has ended before.
        """
        known = self._ends[kind]
        if name not in known:
            raise ConservationError(f"{kind} {name} ends as {end.reason} and never came in")
        if known[name] is not None:
            raise ConservationError(f"{kind} {name} ends as {end.reason} and had ended before")
        known[name] = end

    def border(self, stage: Stage, kind: Kind, entered: Collection[str], went_on: Collection[str]) -> None:
        """Check the border behind a stage and note its line of the funnel.

        Raises:
            ConservationError: What went in is not what went on and what ended here.
        """
        here = {name: end for name, end in self.ends(kind) if end.stage is stage}
        if (
            len(set(went_on)) != len(went_on)
            or set(entered) != set(went_on) | here.keys()
            or here.keys() & set(went_on)
        ):
            raise ConservationError(
                f"{stage}: {len(entered)} {kind}s went in, {len(went_on)} went on and {len(here)} ended there. "
                "This is a defect of Tracemill; nothing was published."
            )
        ended: dict[str, dict[str, int]] = {}
        for state in State:
            reasons = Counter(str(end.reason) for end in here.values() if end.state is state)
            if reasons:
                ended[str(state)] = dict(sorted(reasons.items()))
        self.stages.append(StageCount(stage, kind, len(entered), len(went_on), ended))

    def close(self) -> None:
        """Check that everything has ended.

        Raises:
            ConservationError: Something has not.
        """
        for kind, known in self._ends.items():
            open_ = [name for name, end in known.items() if end is None]
            if open_:
                raise ConservationError(f"{len(open_)} {kind}s have no end, the first is {open_[0]}")

    def ends(self, kind: Kind) -> Iterator[tuple[str, End]]:
        """All ends so far, in the order things came in."""
        return ((name, end) for name, end in self._ends[kind].items() if end is not None)

    def find(self, kind: Kind, name: str) -> End | None:
        """The end of one thing; None while it has none."""
        return self._ends[kind].get(name)

    def totals(self, kind: Kind) -> dict[str, int]:
        """How many ended in each state; the values add up to what came in."""
        counts = Counter(str(end.state) for _, end in self.ends(kind))
        return {"entered": len(self._ends[kind]), **{str(state): counts[str(state)] for state in State}}
