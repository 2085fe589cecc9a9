"""What a run would buy: calls, tokens and money by step, without asking anybody.

The stages are those of the run itself, over the same inputs and the same call table; only where a model would be asked,
the question is counted. What depends on answers that are not there yet has a least and a most: a committee that agrees
needs no arbiter, and an answer that equals the label no judge. Conversations without a score count as relevant, and
answers as fitting, so corrections are left out.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from processing.answer import Answer, Fault
from processing.calibration import calibrate
from processing.convert import convert
from processing.endpoint import Endpoint
from processing.example import Conversation, Example
from processing.filter import batches_of, known_scores, relevance_end, relevance_question
from processing.inputs import Inputs
from processing.ledger import Kind
from processing.pipeline import describe, models_of, split_examples
from processing.relabel import Relabelled
from processing.split import Part
from processing.stages import Run, ask_committee, cut_into_examples, draw_sample, drop_duplicates, filter_by_rules
from processing.teachers import Teachers
from store.recorded.message import Json, Message

BYTES_A_TOKEN = 4
COMPLETION_TOKENS = 200
"""Of an answer, where a model has not yet given any for the purpose."""
ARBITER_SHARE = 0.3
"""Of the examples that a committee disagrees on, as is expected; the most is all of them."""
_PLANNED = "planned"
UNKNOWN_ANSWER = f"{Fault.FAILING}: {_PLANNED}"
"""The problem of an answer that would have to be bought."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """What one model would be asked for one purpose.

    Attributes:
        known: Questions whose answers are in the call table.
        least: Calls to buy in the best case; `most` in the worst.
        expected: Calls to buy as things usually go.
        prompt_tokens: Of the expected calls, estimated from their bytes.
        completion_tokens: Of them, from earlier answers of the model or a guess.
        cost: Of the expected calls; None where the model has no price.
        most_cost: Of the worst case.
    """

    purpose: str
    model: str
    known: int
    least: int
    expected: int
    most: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    most_cost: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would buy.

    Attributes:
        steps: By purpose and model, in the order of the run.
        conversations: That were read.
        train: Examples; the same for `test`.
        unscored: Conversations whose relevance is not known yet.
    """

    steps: tuple[PlannedStep, ...]
    conversations: int
    train: int
    test: int
    unscored: int

    @property
    def cost(self) -> float | None:
        """Of the expected calls; None where one that is expected has no price."""
        return cost_of_steps(self.steps)

    @property
    def most_cost(self) -> float | None:
        """Of the worst case; None as with `cost`."""
        return most_cost_of_steps(self.steps)

    def as_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "conversations": self.conversations,
            "unscored": self.unscored,
            "train": self.train,
            "test": self.test,
            **steps_json(self.steps),
        }


class PlanningTeachers(Teachers):
    """Teachers that know what was ever answered, and note what they would have to ask."""

    def __init__(self, known: Teachers) -> None:
        super().__init__(known.client, known.work, known.config, known.environ)
        self.tally = _Tally()
        self._decided: set[tuple[str, str]] = set()
        self._planned: set[bytes] = set()

    async def ask(
        self, model: str, purpose: str, messages: Sequence[Mapping[str, Json]], *, draw: int = 0, **parameters: Json
    ) -> Answer:
        """Give the answer that is known, else one that says it was only planned."""
        _, body, key = self.question(model, messages, draw=draw, **parameters)
        if await self.work.call(key) is not None:
            self.tally.known[purpose, model] += 1
            return await super().ask(model, purpose, messages, draw=draw, **parameters)
        if key not in self._planned:
            self._planned.add(key)
            self.tally.add(purpose, model, tokens_of(body), least=1, expected=1.0, most=1)
        return Answer(key, Message("assistant"), None, Fault.FAILING, _PLANNED)

    def is_first(self, purpose: str, example: Example) -> bool:
        """Whether nobody has planned that question yet: train, test and the sample may hold the same example."""
        is_new = (purpose, example.id) not in self._decided
        self._decided.add((purpose, example.id))
        return is_new

    def endpoint_of(self, model: str) -> Endpoint:
        """Where a model is asked."""
        return self.question(model, []).where


class _Tally:
    """Questions by purpose and model."""

    def __init__(self) -> None:
        self.known: Counter[tuple[str, str]] = Counter()
        self.least: Counter[tuple[str, str]] = Counter()
        self.most: Counter[tuple[str, str]] = Counter()
        self.expected: dict[tuple[str, str], float] = {}
        self.tokens: Counter[tuple[str, str]] = Counter()

    def add(self, purpose: str, model: str, tokens: int, *, least: int, expected: float, most: int) -> None:
        step = purpose, model
        self.least[step] += least
        self.most[step] += most
        self.expected[step] = self.expected.get(step, 0.0) + expected
        self.tokens[step] += tokens * most


async def make_plan(inputs: Inputs, teachers: Teachers) -> Plan:
    """Find out what a run over these inputs would buy. Nothing is asked and nothing is written.

    Raises:
        ProcessingError: The run could not begin.
    """
    asked = PlanningTeachers(teachers)
    asked.check(models_of(inputs))
    task, _ = await describe(inputs, asked)
    run = Run(task, asked)
    run.conversations.update({conversation.id: conversation for conversation in inputs.intake.conversations})
    run.ledger.enter(Kind.CONVERSATION, list(run.conversations))
    left = filter_by_rules(inputs.intake.conversations, run)
    left, unscored = await _relevant(left, run, asked)
    left = drop_duplicates(left, run)
    examples, _ = cut_into_examples(left, run)
    parts = split_examples(examples, inputs)
    drawn = () if inputs.test else parts.test
    chosen = [*parts.train, *drawn]
    relabelled = await ask_committee(chosen, run, stage=Part.TRAIN)
    _plan_decisions(chosen, relabelled, run, asked, judged=len(parts.train))
    await _plan_sample(inputs, run, asked)
    await calibrate(inputs.calibration, asked, task)
    steps = await steps_of(asked)
    return Plan(steps, len(inputs.intake.conversations), len(parts.train), len(drawn), unscored)


async def _relevant(
    conversations: Sequence[Conversation], run: Run, asked: PlanningTeachers
) -> tuple[list[Conversation], int]:
    """The conversations that are, or may be, relevant, and how many of them nobody scored yet."""
    wanted = run.task.config.trace_processing
    if not wanted.relevance_filtering:
        return list(conversations), 0
    known = await known_scores(conversations, asked, run.task)
    model = wanted.teacher_model_name
    asked.tally.known["filter", model] += len({one.call for one in known.values()})
    unknown = [conversation for conversation in conversations if conversation.id not in known]
    for batch in batches_of(unknown, run.task):
        tokens = tokens_of({"messages": relevance_question(batch, run.task)})
        asked.tally.add("filter", model, tokens, least=1, expected=1.0, most=1)
    kept = [one for one in conversations if one.id not in known or relevance_end(known[one.id], run.task) is None]
    return kept, len(unknown)


def _plan_decisions(
    examples: Sequence[Example], relabelled: Sequence[Relabelled], run: Run, asked: PlanningTeachers, *, judged: int
) -> None:
    """Count what follows the committee's answers: the arbiter and, for the examples from `judged` on, the judge."""
    config = run.task.config
    is_judged = config.has_judge
    for number, (example, found) in enumerate(zip(examples, relabelled, strict=True)):
        if not any(candidate.problem == UNKNOWN_ANSWER for candidate in found.candidates):
            continue
        tokens = tokens_of({"messages": [repr(message) for message in example.messages]})
        if asked.is_first("arbiter", example):
            # The arbiter sees every candidate besides the conversation.
            seen = tokens + COMPLETION_TOKENS * (len(config.committee) + 1)
            arbiter = config.trace_processing.teacher_model_name
            most = config.trace_processing.arbiter_orders
            asked.tally.add("arbiter", arbiter, seen, least=0, expected=ARBITER_SHARE, most=most)
        if number >= judged and is_judged and asked.is_first("judge", example):
            judge = config.evaluation.llm_as_a_judge_model_name
            targets = len(example.targets) if config.evaluation.expand_tool_calling_turns else 1
            asked.tally.add("judge", judge, tokens, least=0, expected=targets / 2, most=targets)


async def _plan_sample(inputs: Inputs, run: Run, asked: PlanningTeachers) -> None:
    wanted = run.task.config.trace_processing
    size = wanted.num_traces_as_unfiltered_sample
    if not (wanted.evaluate_original_model and wanted.relabel and size):
        return
    drawn = draw_sample(inputs.intake.conversations, size, run.task.config.seed)
    bare = wanted.remove_system_prompt_from_traces
    converted = convert(drawn, single_turn=run.task.config.is_single_turn, remove_system_prompt=bare)
    relabelled = await ask_committee(converted.examples, run, stage="unfiltered sample")
    _plan_decisions(converted.examples, relabelled, run, asked, judged=0)


async def steps_of(asked: PlanningTeachers) -> tuple[PlannedStep, ...]:
    """Give all that was planned, by purpose and model, in the order of the run."""
    lengths = await asked.work.completion_tokens()
    tally = asked.tally
    order = ("compress", "filter", "relabel", "arbiter", "judge", "generate", "judge_row")
    names = sorted({*tally.known, *tally.most}, key=lambda step: (order.index(step[0]), step[1]))
    return tuple(_step(name, tally, asked.endpoint_of(name[1]), lengths.get(name, COMPLETION_TOKENS)) for name in names)


def _step(name: tuple[str, str], tally: _Tally, where: Endpoint, length: float) -> PlannedStep:
    most, expected = tally.most[name], tally.expected.get(name, 0.0)
    share = expected / most if most else 0.0
    prompt, completion = tally.tokens[name], most * length
    price = where.price
    most_cost = None if price is None else (prompt * price.input + completion * price.output) / 1_000_000
    return PlannedStep(
        *name,
        known=tally.known[name],
        least=tally.least[name],
        expected=round(expected),
        most=most,
        prompt_tokens=round(prompt * share),
        completion_tokens=round(completion * share),
        cost=None if most_cost is None else round(most_cost * share, 6),
        most_cost=None if most_cost is None else round(most_cost, 6),
    )


def tokens_of(body: Mapping[str, Json]) -> int:
    """Estimate how many tokens a request has."""
    return len(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")) // BYTES_A_TOKEN


def cost_of_steps(steps: Sequence[PlannedStep]) -> float | None:
    """Add up what the expected calls cost; None where one of them has no price."""
    return _sum([step.cost for step in steps if step.expected])


def most_cost_of_steps(steps: Sequence[PlannedStep]) -> float | None:
    """Add up what the worst case costs; None where one of its calls has no price."""
    return _sum([step.most_cost for step in steps if step.most])


def steps_json(steps: Sequence[PlannedStep]) -> dict[str, Json]:
    """Write what would be bought, for machines: step by step, and in all."""
    counts = ("known", "least", "expected", "most")
    return {
        "steps": [{name: getattr(step, name) for name in PlannedStep.__slots__} for step in steps],
        "calls": {name: sum(getattr(step, name) for step in steps) for name in counts},
        "cost": cost_of_steps(steps),
        "most_cost": most_cost_of_steps(steps),
    }


def _sum(costs: Sequence[float | None]) -> float | None:
    """Add costs up; None where one is unknown."""
    known = [cost for cost in costs if cost is not None]
    return round(sum(known), 6) if len(known) == len(costs) else None
