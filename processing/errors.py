"""The errors of this room.

ProcessingError
├── SourceError         a trace file or the store cannot be read as asked
├── SplitError          train and test cannot be drawn as asked
├── InputError          a file or setting that was given is wrong: mend it and run again
│   └── UnknownMetricError  a metric was named that is not there: the command was given wrongly
├── TeacherError        a teacher cannot be used at all: the run stops, what was paid for is kept
├── BudgetError         one more call would cross the budget: the run stops, what was paid for is kept
├── RunLockedError      another run holds the output folder
├── ConservationError   what went into a stage is not what came out: nothing is published
└── TooFewExamplesError fewer examples survived than asked for
"""

from collections.abc import Sequence


class ProcessingError(Exception):
    """Base of everything this room raises on purpose; its text is fit for a terminal and holds no message content."""


class SourceError(ProcessingError):
    """A trace file or the store cannot be read as asked."""


class SplitError(ProcessingError):
    """Train and test cannot be drawn as asked."""


class InputError(ProcessingError):
    """A file or setting that was given is wrong.

    Attributes:
        source: The file or setting, as the person named it.
        problem: What is wrong with it and what is expected.
        line: Line number from 1; None when the input as a whole is meant.
    """

    def __init__(self, source: str, problem: str, *, line: int | None = None) -> None:
        self.source = source
        self.problem = problem
        self.line = line
        super().__init__(f"{source}{f':{line}' if line is not None else ''}: {problem}")


class UnknownMetricError(InputError):
    """There is no such metric for what is scored.

    Attributes:
        name: As it was given.
        known: Those there are.
    """

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__("metric", f'there is none named "{name}"; there are {", ".join(known)}.')


class TeacherError(ProcessingError):
    """A teacher cannot be used at all, so the run stops; what was paid for is kept and a later run goes on from there.

    Attributes:
        model: The model's name in the configuration.
        base_url: Where it was asked, without credentials.
        code: `unauthorized`, `not_found`, `unreachable`, `failing`, `rejecting` or `waited_too_long`.
    """

    def __init__(self, model: str, base_url: str, code: str, problem: str) -> None:
        self.model = model
        self.base_url = base_url
        self.code = code
        super().__init__(f"teacher {model} at {base_url}: {problem}")


class BudgetError(ProcessingError):
    """One more call would cross the budget, so the run stops; what was paid for is kept.

    Attributes:
        calls: Bought by this command.
        cost: Of them, as far as it is known.
    """

    def __init__(self, problem: str, *, calls: int, cost: float) -> None:
        self.calls = calls
        self.cost = cost
        super().__init__(f"{problem}. Raise it and run the same command to go on: what was paid for is kept.")


class RunLockedError(ProcessingError):
    """Another run holds the output folder."""


class ConservationError(ProcessingError):
    """What went into a stage is not what came out of it; nothing is published."""


class TooFewExamplesError(ProcessingError):
    """Fewer examples survived than `min_generated_examples` asks for."""
