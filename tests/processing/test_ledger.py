import pytest

from processing.errors import ConservationError
from processing.ledger import End, Kind, Ledger, Reason, Stage, State

DROP = End(State.DROPPED, Stage.RULES, Reason.TOO_LONG)
KEEP = End(State.KEPT, Stage.OUTPUT, Reason.TRAIN)


def test_a_border_counts_what_ended_by_state_and_reason() -> None:
    ledger = Ledger()
    ledger.enter(Kind.EXAMPLE, ["a", "b"])
    ledger.end(Kind.EXAMPLE, "a", DROP)
    ledger.border(Stage.RULES, Kind.EXAMPLE, ["a", "b"], ["b"])
    ledger.end(Kind.EXAMPLE, "b", KEEP)
    ledger.close()
    (line,) = ledger.stages
    assert (line.entered, line.went_on, line.ended) == (2, 1, {"dropped": {"too_long": 1}})
    assert ledger.totals(Kind.EXAMPLE) == {"entered": 2, "kept": 1, "dropped": 1, "failed": 0, "review": 0}


def test_nothing_ends_twice_or_without_having_come_in() -> None:
    ledger = Ledger()
    ledger.enter(Kind.EXAMPLE, ["a"])
    ledger.end(Kind.EXAMPLE, "a", DROP)
    with pytest.raises(ConservationError, match="had ended before"):
        ledger.end(Kind.EXAMPLE, "a", KEEP)
    with pytest.raises(ConservationError, match="never came in"):
        ledger.end(Kind.EXAMPLE, "b", KEEP)
    with pytest.raises(ConservationError, match="came in twice"):
        ledger.enter(Kind.EXAMPLE, ["a"])


@pytest.mark.parametrize("went_on", [[], ["b", "b"], ["a", "b"], ["b", "c"]])
def test_a_border_that_does_not_add_up_stops_the_run(went_on: list[str]) -> None:
    ledger = Ledger()
    ledger.enter(Kind.EXAMPLE, ["a", "b", "c"])
    ledger.end(Kind.EXAMPLE, "a", DROP)
    with pytest.raises(ConservationError, match="2 examples went in"):
        ledger.border(Stage.RULES, Kind.EXAMPLE, ["a", "b"], went_on)


def test_everything_has_to_end() -> None:
    ledger = Ledger()
    ledger.enter(Kind.CONVERSATION, ["a"])
    with pytest.raises(ConservationError, match="1 conversations have no end"):
        ledger.close()
