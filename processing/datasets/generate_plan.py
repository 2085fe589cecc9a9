"""What generating a dataset would buy: calls, tokens and money, without asking anybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from processing.datasets.generate import Wanted, answer_all, judge_all
from processing.datasets.judging import PURPOSE, question
from processing.datasets.prompt_file import PromptItem, read_prompts
from processing.datasets.row_form import example_of, row_of
from processing.plan import (
    COMPLETION_TOKENS,
    UNKNOWN_ANSWER,
    PlannedStep,
    PlanningTeachers,
    cost_of_steps,
    most_cost_of_steps,
    steps_json,
    steps_of,
    tokens_of,
)
from processing.teachers import Teachers
from store.recorded.message import Json
from store.recorded.message_form import to_openai


@dataclass(frozen=True, slots=True)
class GeneratePlan:
    """What generating a dataset would buy.

    Attributes:
        prompts: That are asked.
        samples: Answers to each.
        steps: By purpose and model; an answer that is not there yet may turn out a duplicate and need no judge.
        warnings: What to look at before anything is paid.
    """

    prompts: int
    samples: int
    steps: tuple[PlannedStep, ...]
    warnings: tuple[str, ...] = ()

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
            "prompts": self.prompts,
            "samples": self.samples,
            **steps_json(self.steps),
            "warnings": list(self.warnings),
        }


async def plan_generate(path: Path, teachers: Teachers, wanted: Wanted) -> GeneratePlan:
    """Find out what `generate` would buy. Nothing is asked and nothing is written.

    Raises:
        InputError: As `generate`.
    """
    wanted.check()
    prompts = read_prompts(path, wanted.setting)
    asked = PlanningTeachers(teachers)
    asked.check([wanted.teacher, wanted.judge])
    answers = await answer_all(prompts.items, asked, wanted, _silent)
    await judge_all(answers, asked, wanted, _silent)
    for one in answers:
        if one.drawn.problem == UNKNOWN_ANSWER:
            tokens = tokens_of({"messages": _question(one.item, wanted)}) + COMPLETION_TOKENS
            asked.tally.add(PURPOSE, wanted.judge, tokens, least=0, expected=1.0, most=1)
    return GeneratePlan(len(prompts.items), wanted.n_samples, await steps_of(asked), tuple(prompts.warnings()))


def _question(item: PromptItem, wanted: Wanted) -> Sequence[Json]:
    """What the judge would be asked, but for the answer."""
    asked = [to_openai(message) for message in item.messages]
    row = row_of([*asked, {"role": "assistant", "content": "."}], tools=item.tools, targets=[len(asked)])
    return question(example_of(row), task=wanted.task, criteria=wanted.criteria)


def _silent(_stage: str, _done: int, _total: int) -> None:
    """Show nothing."""
