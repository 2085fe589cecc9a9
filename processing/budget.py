"""The budget of one command: how many calls it may buy, and for how much money.

A call is refused before it would cross the budget, so that nothing has to be thrown away: all that was bought is in the
call table, and the same command with a larger budget goes on from there. What a call will cost is not known before its
answer is there; until then the most that a call like it is expected to cost is set aside.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from processing.endpoint import Endpoint
from processing.errors import BudgetError, InputError
from store.recorded.message import Json

_BYTES_A_TOKEN = 3
"""Of a request: English has more, and Chinese about as many."""
_FIRST_COMPLETION = 1024
"""Tokens set aside for an answer, until a longer one was seen."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """What is set aside for one call.

    Attributes:
        cost: Money; 0.0 where no sum of money bounds the command.
    """

    model: str
    cost: float


class Budget:
    """What may be bought from now on; answers that were bought before cost nothing.

    Args:
        max_calls: Calls; None for no bound.
        max_cost: Money, in the currency of the prices; None for no bound.
    """

    def __init__(self, max_calls: int | None = None, max_cost: float | None = None) -> None:
        self.calls = 0
        self.cost = 0.0
        self._max_calls = max_calls
        self._max_cost = max_cost
        self._set_aside = 0.0
        self._longest: dict[str, int] = {}

    def check(self, where: Endpoint) -> None:
        """See that the budget can be kept with this model.

        Raises:
            InputError: Money is bounded, and nobody knows what the model costs.
        """
        if self._max_cost is not None and where.price is None:
            raise InputError(
                f"model {where.name}",
                f'has no price, so --max-cost cannot be kept. Write models: {{"{where.name}": {{price: {{input: …, '
                "output: …}}} (0 for a model of your own), or bound the run by --max-calls.",
            )

    def reserve(self, where: Endpoint, body: Mapping[str, Json]) -> Reserved:
        """Set aside what one more call may cost.

        Raises:
            BudgetError: The call would cross the budget; it was not sent.
        """
        if self._max_calls is not None and self.calls >= self._max_calls:
            raise BudgetError(f"the budget of {self._max_calls} calls is used up", calls=self.calls, cost=self.cost)
        cost = self._expected(where, body)
        if self._max_cost is not None and self.cost + self._set_aside + cost > self._max_cost:
            raise BudgetError(
                f"the next call could cross the budget of {self._max_cost:g}: {self.cost:.4f} are spent, "
                f"{self._set_aside:.4f} set aside for calls in flight, and this one may cost {cost:.4f}",
                calls=self.calls,
                cost=self.cost,
            )
        self.calls += 1
        self._set_aside += cost
        return Reserved(where.name, cost)

    def settle(self, reserved: Reserved, cost: float | None, completion_tokens: int) -> None:
        """Replace what was set aside by what it came to; a cost that is unknown counts as expected."""
        self._set_aside = max(self._set_aside - reserved.cost, 0.0)
        self.cost += reserved.cost if cost is None else cost
        self._longest[reserved.model] = max(self._longest.get(reserved.model, 0), completion_tokens)

    def release(self, reserved: Reserved) -> None:
        """Give back what was set aside for a call that did not come to an end."""
        self.calls -= 1
        self._set_aside = max(self._set_aside - reserved.cost, 0.0)

    def _expected(self, where: Endpoint, body: Mapping[str, Json]) -> float:
        if self._max_cost is None or where.price is None:
            return 0.0
        prompt = len(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")) / _BYTES_A_TOKEN
        bound = body.get("max_completion_tokens") or body.get("max_tokens")
        longest = max(self._longest.get(where.name, 0), _FIRST_COMPLETION)
        completion = min(bound, longest) if isinstance(bound, int) else longest
        return (prompt * where.price.input + completion * where.price.output) / 1_000_000
