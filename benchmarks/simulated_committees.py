"""Committees whose members are right as often as is wished, and whose truth is known."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from processing.agreement import agree
from processing.answer_form import Answers, Form, canonical
from processing.candidates import ORIGINAL
from processing.interval import Interval, Scored, interval
from processing.reliability import estimate
from store.recorded.message import Json, Message, ToolCall

BOUND = 0.6
"""As `min_agreement` is by default."""
CLASSES = tuple(f"class {number}" for number in range(6))
CITIES = ("London", "Paris", "Rome", "Oslo", "Madrid")
WORDS = [f"word{number}" for number in range(400)]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": list(CITIES)},
                "days": {"type": "integer"},
                "unit": {"type": "string", "default": "C"},
                "note": {"type": "string"},
            },
            "required": ["city"],
        },
    },
}
OTHER = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "amount": {"type": "integer"}, "urgent": {"type": "boolean"}},
    "required": ["city", "amount", "urgent"],
}
FORMS = {
    "labels": Form(classes=CLASSES),
    "tool calls": Form(tools=[TOOL, OTHER]),
    "JSON": Form(is_json=True, schema=SCHEMA),
    "free text": Form(),
}


@dataclass(slots=True)
class Outcome:
    """How a committee did.

    Attributes:
        kind: What was answered.
        accuracies: Of the members, the recorded answer last, as wished.
        rows: Rows answered.
        arbitrated: Rows below the bound, which an arbiter would get.
        voted_right: Right labels among the others.
        members_right: Right answers of each member among the same rows.
        members_right_of_all: Right answers of each member among all rows.
        reliability: As estimated; empty where votes are not weighed.
    """

    kind: str
    accuracies: Sequence[float]
    rows: int
    arbitrated: int = 0
    voted_right: int = 0
    members_right: list[int] = field(default_factory=list)
    members_right_of_all: list[int] = field(default_factory=list)
    reliability: dict[str, float] = field(default_factory=dict)

    @property
    def voted(self) -> int:
        """Rows that no arbiter gets."""
        return self.rows - self.arbitrated

    def with_arbiter(self, accuracy: float) -> float:
        """Share of right labels in all, with an arbiter that is right so often."""
        return (self.voted_right + accuracy * self.arbitrated) / self.rows


def simulate(kind: str, accuracies: Sequence[float], *, rows: int, seed: int, bound: float = BOUND) -> Outcome:
    """Let a committee of known accuracy answer; the last accuracy is that of the recorded answers."""
    dice = random.Random(f"{kind} {accuracies} {seed}")
    form = FORMS[kind]
    names = [*(f"member {number}" for number in range(len(accuracies) - 1)), ORIGINAL]
    asked: list[tuple[Answers, list[Answers]]] = []
    for _ in range(rows):
        truth = _truth(kind, dice)
        asked.append((truth, [_said(kind, truth, dice.random() < share, dice) for share in accuracies]))
    votes = [dict(zip(names, [canonical(one, form) for one in said], strict=True)) for _, said in asked]
    right = estimate(votes, len(CLASSES)) if kind == "labels" else {}
    outcome = Outcome(kind, accuracies, rows, reliability=right)
    outcome.members_right = [0] * len(names)
    outcome.members_right_of_all = [0] * len(names)
    for truth, said in asked:
        hits = [_is_right(kind, truth, one) for one in said]
        outcome.members_right_of_all = [n + hit for n, hit in zip(outcome.members_right_of_all, hits, strict=True)]
        found = agree(said, form, [right[name] for name in names] if right else ())
        if found.label is None or found.sureness < bound:
            outcome.arbitrated += 1
            continue
        outcome.voted_right += _is_right(kind, truth, found.label)
        outcome.members_right = [n + hit for n, hit in zip(outcome.members_right, hits, strict=True)]
    return outcome


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a run would report of a base model whose truth is known.

    Attributes:
        truth: How often it is right over all that it ever answered.
        interval: From a sample of conversations, against the committee's labels.
    """

    truth: float
    interval: Interval

    @property
    def holds(self) -> bool:
        """Whether the interval holds the truth."""
        low, high = self.interval.low, self.interval.high
        return low is not None and high is not None and low <= self.truth <= high


def baseline(
    seed: int, *, members: Sequence[float] = (0.9, 0.85, 0.8), sample: int = 50, arbiter: float = 0.95
) -> Baseline:
    """Score recorded labels, wrong more often in hard conversations, against those of a committee that errs too."""
    dice = random.Random(f"baseline {members} {sample} {seed}")
    form = FORMS["labels"]
    names = [*(f"member {number}" for number in range(len(members))), ORIGINAL]
    conversations: list[list[tuple[Answers, list[Answers]]]] = []
    for _ in range(400):
        share = 0.4 if dice.random() < 0.3 else 0.9
        rows = []
        for _ in range(dice.randint(1, 4)):
            truth = _truth("labels", dice)
            rows.append((truth, [_said("labels", truth, dice.random() < one, dice) for one in (*members, share)]))
        conversations.append(rows)
    every = [row for rows in conversations for row in rows]
    votes = [dict(zip(names, [canonical(one, form) for one in said], strict=True)) for _, said in every]
    right = estimate(votes, len(CLASSES))
    scores = []
    for number in dice.sample(range(len(conversations)), sample):
        for truth, said in conversations[number]:
            found = agree(said, form, [right[name] for name in names])
            label = found.label if found.sureness >= BOUND and found.label is not None else None
            label = label or _said("labels", truth, dice.random() < arbiter, dice)
            scores.append(Scored(str(number), float(canonical(said[-1], form) == canonical(label, form))))
    hits = sum(canonical(said[-1], form) == canonical(truth, form) for truth, said in every)
    return Baseline(hits / len(every), interval(scores, seed=seed))


def _truth(kind: str, dice: random.Random) -> Answers:
    if kind == "labels":
        return _text(dice.choice(CLASSES))
    if kind == "tool calls":
        return _call("weather", city=dice.choice(CITIES), days=dice.randint(1, 9), note="as it was asked for")
    if kind == "JSON":
        return _text(_record(dice.choice(CITIES), dice.randint(1, 99), dice.random() < 0.5))
    return _text(" ".join(dice.choices(WORDS, k=20)))


def _said(kind: str, truth: Answers, is_right: bool, dice: random.Random) -> Answers:
    """An answer as good as wished; right ones differ in ways that say nothing, wrong ones in what matters."""
    if kind == "labels":
        return truth if is_right else _text(dice.choice([name for name in CLASSES if name != truth[0].content]))
    if kind == "tool calls":
        arguments = json.loads(truth[0].tool_calls[0].arguments)
        if not is_right:
            if dice.random() < 0.3:
                return _call("time")
            if dice.random() < 0.5:
                return _call("weather", **{**arguments, "city": _other(CITIES, arguments["city"], dice)})
            return _call("weather", **{**arguments, "days": _other(range(1, 10), arguments["days"], dice)})
        extra = {"unit": "C"} if dice.random() < 0.5 else {}
        return _call("weather", **dict(sorted({**arguments, **extra}.items(), reverse=dice.random() < 0.5)))
    if kind == "JSON":
        value = json.loads(str(truth[0].content))
        if not is_right:
            key = dice.choice(["city", "amount"])
            value[key] = _other(CITIES if key == "city" else range(1, 100), value[key], dice)
        return _text(_record(value["city"], value["amount"], value["urgent"], spaced=dice.random() < 0.5))
    words = str(truth[0].content).split()
    for place in dice.sample(range(20), 1 if is_right else 12):
        words[place] = dice.choice(WORDS)
    return _text(" ".join(words))


def _is_right(kind: str, truth: Answers, said: Answers) -> bool:
    if kind != "free text":
        return canonical(truth, FORMS[kind]) == canonical(said, FORMS[kind])
    pairs = zip(str(truth[0].content).split(), str(said[0].content).split(), strict=True)
    return sum(one == other for one, other in pairs) >= 18


def _other(values: Sequence[Json], but: Json, dice: random.Random) -> Json:
    return dice.choice([value for value in values if value != but])


def _record(city: str, amount: int, urgent: bool, *, spaced: bool = False) -> str:
    return json.dumps({"city": city, "amount": amount, "urgent": urgent}, indent=2 if spaced else None)


def _text(said: str) -> Answers:
    return (Message("assistant", said),)


def _call(name: str, **arguments: Json) -> Answers:
    return (Message("assistant", None, (ToolCall(name, json.dumps(arguments)),)),)
