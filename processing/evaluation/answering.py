"""Having a contender answer, and the closed list of why an answer does not count."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from processing.answer import Fault, cost_of
from processing.baseline import JUDGE, Judged, judge_answer
from processing.candidates import Task
from processing.endpoint import Endpoint
from processing.evaluation.item import Item, spoken
from processing.evaluation.suite import Suite, score
from processing.provenance import about
from processing.sent_form import sent_messages
from processing.teachers import Teachers
from store import json_text
from store.datasets.evaluation import Prediction
from store.recorded.message import Message
from store.recorded.message_form import to_openai

PURPOSE = "evaluate"
TEMPERATURE = 0
_CUT = ("length", "content_filter")
FAILURES = (*(str(fault) for fault in Fault), *_CUT)
"""Why an answer does not count: the faults of a call, and the finish reasons of an answer that was cut short. All but
`failing` stay as they are when the evaluation is run again."""


class Given(NamedTuple):
    """What a contender answered.

    Attributes:
        message: None when there is no answer that counts; `failure` says why.
        call: The call that answered.
    """

    message: Message | None
    failure: str | None = None
    call: bytes | None = None
    cost: float | None = None
    duration_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """A model that is evaluated, as it is asked and scored.

    Attributes:
        model: Name in the configuration; None stands for the recorded answers.
        suite: Names the metrics.
        task: For the judge: which one, and what it is told.
        is_judged: Whether a judge is asked.
    """

    model: str | None
    suite: Suite
    task: Task
    is_judged: bool

    async def predict(self, item: Item, teachers: Teachers) -> Prediction:
        """Answer one item and score the answer.

        Raises:
            TeacherError: The run has to stop.
            BudgetError: So it has, since nothing more may be bought.
        """
        with about(item.example):
            given = await self._given(item, teachers)
            scores = score(item, given.message, self.suite)
            judged = Judged(None)
            if self.is_judged:
                judged = await self._judged(item, given.message, teachers)
                scores[JUDGE] = judged.score
        return Prediction(
            row_id=item.row_id,
            row_hash=item.row_hash,
            target=item.target,
            conversation_id=item.conversation_id,
            answer=None if given.message is None else to_openai(given.message),
            failure=given.failure,
            scores=scores,
            judging=None if judged.judging is None else str(judged.judging),
            call_key=given.call,
            judge_call=judged.call,
            cost=given.cost,
            duration_ms=given.duration_ms,
        )

    async def _given(self, item: Item, teachers: Teachers) -> Given:
        if self.model is None:
            return Given(item.recorded)
        where, messages = teachers.question(self.model, []).where, sent_messages(item.prompt)
        answer = await teachers.ask(
            self.model,
            PURPOSE,
            messages,
            temperature=TEMPERATURE,
            tools=item.example.tools or None,
            response_format=item.example.response_format,
        )
        given = await _paid(answer.key, where, teachers)
        if answer.fault is not None:
            return given._replace(failure=str(answer.fault))
        if answer.finish_reason in _CUT:
            return given._replace(failure=answer.finish_reason)
        return given._replace(message=answer.message)

    async def _judged(self, item: Item, message: Message | None, teachers: Teachers) -> Judged:
        if message is None:
            return Judged(0.0)
        said = [*item.prompt, spoken(message)]
        example = replace(item.example, messages=tuple(said), targets=(item.target,), turns={})
        return await judge_answer(example, item.target, item.reference, teachers, self.task)


async def _paid(key: bytes, where: Endpoint, teachers: Teachers) -> Given:
    """What the call of an answer cost and how long it took; nothing of one that is not remembered."""
    call = await teachers.work.call(key)
    if call is None:
        return Given(None)
    usage = json_text.loads(call.usage) if call.usage else None
    # A price that was configured later holds for what was bought before it was known.
    cost = call.cost if call.cost is not None else cost_of(where, usage if isinstance(usage, dict) else None)
    return Given(None, None, key, cost, call.duration_ms)
