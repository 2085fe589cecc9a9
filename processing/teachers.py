"""Asks teachers and judges through the call table: a question that was ever answered costs nothing again."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from processing.answer import Answer, Fault, read_answer, record_call, reported
from processing.budget import Budget
from processing.config import Config
from processing.endpoint import Endpoint, endpoint
from processing.errors import TeacherError
from processing.http_reply import CHAT, Completion, Service
from processing.model_client import ModelClient
from processing.provenance import current_sources
from processing.repair import RepairError, check, find_json
from store import json_text
from store.call import Call, call_key
from store.recorded.message import Json
from store.recorded.message_form import text_of
from store.work import WorkStore

_Name = TypeVar("_Name", str, tuple[str, str])


class Question(NamedTuple):
    """What a model is asked: where, with which request body, and the key of the call."""

    where: Endpoint
    body: Mapping[str, Json]
    key: bytes


class Verdict(NamedTuple):
    """A JSON answer to a question that asked for one.

    Attributes:
        value: The value; None when the answer has none that fits.
        problem: Why there is none.
        answer: The answer itself.
    """

    value: Json | None
    problem: str | None
    answer: Answer


@dataclass(slots=True)
class CallCounts:
    """How the questions of a run went so far, each question counted as often as it was asked."""

    in_flight: int = 0
    paid: int = 0
    cached: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Bill:
    """What a run's answers cost, the ones bought earlier included: the same in every run of the same work.

    Attributes:
        calls: Number of different questions with an end.
        prompt_tokens: Sum of what was reported.
        completion_tokens: Sum of what was reported.
        cost: Sum of the known costs; None when no price is known.
        without_cost: Calls whose cost is unknown.
    """

    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    without_cost: int


class Teachers:
    """All the models a run may ask.

    Args:
        client: Sends what the call table does not hold.
        work: The call table.
        config: Names the models.
        environ: Where keys and the general base URL stand.
        budget: What may be bought.
        changed: Called whenever `counts` changes.
    """

    def __init__(
        self,
        client: ModelClient,
        work: WorkStore,
        config: Config,
        environ: Mapping[str, str],
        *,
        budget: Budget | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.counts = CallCounts()
        self.work = work
        self.client = client
        self.config = config
        self.environ = environ
        self._budget = budget or Budget()
        self._changed = changed
        self._endpoints: dict[str, Endpoint] = {}
        self._answered = 0
        self._unanswered: defaultdict[str, list[Answer]] = defaultdict(list)
        self._ended: dict[bytes, tuple[str, str, Mapping[str, Json], float | None]] = {}

    def check(self, models: Sequence[str]) -> None:
        """Find the endpoint of every model that will be asked, before anything is paid.

        Raises:
            InputError: One of them has no base URL or no key, or no price where money is bounded.
        """
        for model in models:
            self._budget.check(self._endpoint(model))

    async def ask(
        self, model: str, purpose: str, messages: Sequence[Mapping[str, Json]], *, draw: int = 0, **parameters: Json
    ) -> Answer:
        """Ask one model, or find what it said when it was asked the same before.

        Args:
            model: Name in the configuration.
            purpose: The step that asks, for the call table.
            messages: In OpenAI's form.
            draw: Tells repeated questions apart, which are to be answered anew.
            parameters: Further fields of the request; None leaves a field out.

        Raises:
            TeacherError: The run has to stop.
            BudgetError: So it has, since nothing more may be bought.
        """
        where, body, key = self.question(model, messages, draw=draw, **parameters)
        await self.work.add_call_sources(key, current_sources())
        call = await self.work.call(key)
        if call is not None:
            self.counts.cached += 1
        else:
            call = await self._buy_once(where, key, purpose, body)
        self._changed()
        self._note(call)
        answer = read_answer(call)
        if answer.fault is None:
            self._answered += 1
        else:
            self._unanswered[model].append(answer)
        return answer

    def question(
        self, model: str, messages: Sequence[Mapping[str, Json]], *, draw: int = 0, **parameters: Json
    ) -> Question:
        """Put a question together, as `ask` sends it; nobody is asked."""
        where = self._endpoint(model)
        body = {"model": where.model, "messages": list(messages), **parameters, **where.extra_body}
        body = {name: value for name, value in body.items() if value is not None}
        return Question(where, body, call_key(base_url=where.shown_url, body=body, attempt=draw))

    async def ask_json(
        self,
        model: str,
        purpose: str,
        messages: Sequence[Mapping[str, Json]],
        schema: Mapping[str, Json],
        name: str,
        *,
        is_checked: bool = True,
    ) -> Verdict:
        """Ask for a JSON value at temperature 0; an answer that does not fit the schema is no verdict.

        Args:
            model: Name in the configuration.
            purpose: The step that asks.
            messages: In OpenAI's form.
            schema: What the value has to fit.
            name: Name of the schema in the request.
            is_checked: False leaves the check to the caller, who can use a part of what does not fit as a whole.

        Raises:
            TeacherError: The run has to stop.
        """
        wanted = {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}
        answer = await self.ask(model, purpose, messages, temperature=0, response_format=wanted)
        if answer.fault is not None:
            return Verdict(None, answer.problem, answer)
        try:
            value = find_json(text_of(answer.message)).value
            if is_checked:
                check(value, schema)
        except RepairError as exc:
            return Verdict(None, str(exc), answer)
        return Verdict(value, None, answer)

    def problems(self) -> list[str]:
        """Say for each model how many questions got no answer, and why the last one did not."""
        return [
            f"Teacher {model} left {len(answers)} questions without an answer, the last as {answers[-1].problem}."
            for model, answers in sorted(self._unanswered.items())
        ]

    def require_answers(self) -> None:
        """Stop when questions were asked and not one was answered.

        Raises:
            TeacherError: Names the first model and what became of its questions.
        """
        if self._answered or not self._unanswered:
            return
        model, answers = min(self._unanswered.items())
        problem = f"it answered none of {len(answers)} questions, the last one ended as {answers[-1].problem}."
        raise TeacherError(model, self._endpoint(model).shown_url, "failing", f"{problem} Mend it and run again.")

    def identity(self, model: str) -> str:
        """What tells this model from others of the same name: its server and the name there."""
        where = self._endpoint(model)
        return f"{where.shown_url} {where.model}"

    def asked_at(self, models: Sequence[str]) -> dict[str, Json]:
        """Tell where models are asked, as a configuration says it but without keys, so that calls are found again."""
        found = {model: self._endpoint(model) for model in sorted(set(models))}
        return {
            model: {"base_url": where.shown_url, "model": where.model, "extra_body": dict(where.extra_body)}
            for model, where in found.items()
        }

    async def reuse(self, key: bytes) -> None:
        """Put a call on the bill whose answer is used again without asking."""
        await self.work.add_call_sources(key, current_sources())
        if key not in self._ended and (call := await self.work.call(key)) is not None:
            self.counts.cached += 1
            self._note(call)
            self._changed()

    def bill(self) -> dict[str, Bill]:
        """What the answers used so far cost, by purpose."""
        return self._bills(lambda purpose, _: purpose)

    def bill_by_model(self) -> dict[tuple[str, str], Bill]:
        """What they cost by purpose and model, so that the members of a committee are told apart."""
        return self._bills(lambda purpose, model: (purpose, model))

    def _bills(self, name_of: Callable[[str, str], _Name]) -> dict[_Name, Bill]:
        used: defaultdict[_Name, list[tuple[Mapping[str, Json], float | None]]] = defaultdict(list)
        # In the order of the keys, so that sums of floats do not depend on who answered first.
        for key in sorted(self._ended):
            purpose, model, usage, cost = self._ended[key]
            used[name_of(purpose, model)].append((usage, cost))
        return {name: _bill(used[name]) for name in sorted(used)}

    def _endpoint(self, model: str) -> Endpoint:
        if model not in self._endpoints:
            self._endpoints[model] = endpoint(model, self.config, self.environ)
        return self._endpoints[model]

    async def buy(
        self,
        where: Endpoint,
        body: Mapping[str, Json],
        record: Callable[[Completion], Call],
        keep: Callable[[Completion, Call], Awaitable[None]],
        *,
        service: Service = CHAT,
    ) -> Call:
        """Buy one answer within the budget.

        Args:
            where: Whom to ask.
            body: The request body.
            record: Makes the row of the call table of an answer.
            keep: Writes an answer that is final down with its row, before it is used.
            service: What is asked for.

        Raises:
            TeacherError: The run has to stop.
            BudgetError: So it has, since nothing more may be bought.
        """
        reserved = self._budget.reserve(where, body)
        self.counts.in_flight += 1
        self._changed()

        made: list[Call] = []

        async def keep_final(completion: Completion) -> None:
            made.append(record(completion))
            if completion.is_final:
                await keep(completion, made[-1])

        try:
            completion = await self.client.complete(where, body, keep_final, service=service)
        except BaseException:
            self._budget.release(reserved)
            raise
        finally:
            self.counts.in_flight -= 1
        call = made[-1] if made else record(completion)
        usage = json_text.loads(call.usage) if call.usage else {}
        self._budget.settle(reserved, call.cost, reported(usage, "completion_tokens"))
        if call.error is None:
            self.counts.paid += 1
        else:
            self.counts.failed += 1
        self._note(call)
        return call

    async def _buy_once(self, where: Endpoint, key: bytes, purpose: str, body: Mapping[str, Json]) -> Call:
        """Buy an answer, or have the one that somebody else was buying; see `WorkStore.asking`."""
        async with self.work.asking(key):
            call = await self.work.call(key)
            if call is None:
                return await self._buy(where, key, purpose, body)
        self.counts.cached += 1
        return call

    async def _buy(self, where: Endpoint, key: bytes, purpose: str, body: Mapping[str, Json]) -> Call:
        def record(completion: Completion) -> Call:
            return record_call(where, key, purpose, body, completion)

        async def keep(_: Completion, call: Call) -> None:
            await self.work.add_call(call)

        return await self.buy(where, body, record, keep)

    def _note(self, call: Call) -> None:
        if call.error != Fault.FAILING:
            usage = json_text.loads(call.usage) if call.usage else {}
            self._ended.setdefault(call.key, (call.purpose, call.model, usage, call.cost))


def _bill(used: Sequence[tuple[Mapping[str, Json], float | None]]) -> Bill:
    costs = [cost for _, cost in used if cost is not None]
    return Bill(
        calls=len(used),
        prompt_tokens=sum(reported(usage, "prompt_tokens") for usage, _ in used),
        completion_tokens=sum(reported(usage, "completion_tokens") for usage, _ in used),
        cost=round(sum(costs), 9) if costs else None,
        without_cost=len(used) - len(costs),
    )
