"""Prices: what a call cost, as an exact whole number of picodollars (10^-12 dollars).

A price is given in dollars per million tokens, so one of up to six decimal places is a whole number of picodollars for
a token, and sums of costs are exact. What has no price costs None and never 0.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any, NamedTuple

from store.price_library import Library
from store.token_counts import TokenCounts
from store.trace_rows import from_micros

PICODOLLARS = 10**12
MAX_COST = 10_000 * PICODOLLARS
"""No call costs as much; what comes to more is a mistake in usage or prices, and has no cost."""
SLOT_MICROS = 1800 * 1_000_000
"""Prices change at the beginning of half an hour: some are lower at night."""
_MAX_KEPT = 20_000

KINDS = (
    "input", "output", "cached", "cache_write", "cache_write_1h", "reasoning", "audio_input", "audio_output",
)  # fmt: skip
"""What has a price of its own; all but the first two, where they have none, are priced as what they are part of."""


class Rates(NamedTuple):
    """Picodollars per token.

    Attributes:
        above: The call's input tokens from which on these hold, exclusive; -1 for all.
    """

    above: int
    input: int
    output: int
    cached: int
    cache_write: int
    cache_write_1h: int
    reasoning: int
    audio_input: int
    audio_output: int


Tariff = tuple[Rates, ...]
"""Rates by rising `above`; the last that the call's input exceeds holds for all of its tokens."""


@dataclass(frozen=True, slots=True)
class PriceRule:
    """One line of the price table.

    Attributes:
        model: Pattern over the served or the requested model, with `*`, `?` and `[...]`; the same for the next two.
        route: Pattern over the route's name.
        upstream: Pattern over the upstream's base URL.
        starts_at: Calls before it do not match; None for all times.
        tier: Only calls of that tier; None for all.
        dollars: Price per million tokens, as decimal text, by what it is for (`KINDS`).
        provider: Name of the library's provider whose prices hold; `dollars` is then empty.
    """

    model: str = "*"
    route: str = "*"
    upstream: str = "*"
    starts_at: datetime | None = None
    tier: str | None = None
    dollars: Mapping[str, str] = field(default_factory=dict)
    provider: str | None = None


class PricedCall(NamedTuple):
    """What decides about a call's prices; `slot` is its time in units of `SLOT_MICROS`."""

    route: str
    upstream: str
    requested_model: str | None
    served_model: str | None
    tier: str | None
    slot: int


class PriceBook:
    """All prices that are known.

    Args:
        rules: The first that matches holds.
        library: Where rules that name a provider find its prices; None for none.
        is_library_for_all: Whether the library is asked for what no rule matches, too.

    Attributes:
        hash: Of everything that prices depend on: books of one hash price alike.
    """

    def __init__(
        self, rules: Sequence[PriceRule] = (), library: Library | None = None, *, is_library_for_all: bool = True
    ) -> None:
        self.rules = tuple(rules)
        self.library = library
        self.is_library_for_all = is_library_for_all
        self.hash = blake2b(f"{library and library.version} {self.to_json()}".encode(), digest_size=16).digest()
        self._tariffs: dict[PricedCall, Tariff | None] = {}

    def to_json(self) -> str:
        """Write the rules, and whether the library is asked, so that `from_json` gives the book again."""
        rules = [{**asdict(rule), "starts_at": rule.starts_at and rule.starts_at.isoformat()} for rule in self.rules]
        told = {"rules": rules, "library": self.library is not None, "for_all": self.is_library_for_all}
        return json.dumps(told, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "PriceBook":
        """Undo `to_json`, with the library as it is installed now."""
        told = json.loads(text)
        library = Library() if told["library"] else None
        return cls([_rule(each) for each in told["rules"]], library, is_library_for_all=told["for_all"])

    def cost(self, call: PricedCall, counts: TokenCounts) -> int | None:
        """Give the cost in picodollars; None when a price or a count is not known."""
        tariff = self.tariff(call)
        return None if tariff is None else cost_of(tariff, counts)

    def tariff(self, call: PricedCall) -> Tariff | None:
        """Give the prices that hold for a call; None when none are known."""
        try:
            return self._tariffs[call]
        except KeyError:
            return self._keep(call)

    def _keep(self, call: PricedCall) -> Tariff | None:
        if len(self._tariffs) >= _MAX_KEPT:
            self._tariffs.clear()
        tariff = self._tariffs[call] = self._find(call)
        return tariff

    def _find(self, call: PricedCall) -> Tariff | None:
        at = from_micros(call.slot * SLOT_MICROS)
        for rule in self.rules:
            if _matches(rule, call, at):
                if rule.provider is None:
                    return (_rates(-1, {name: Decimal(text) for name, text in rule.dollars.items()}),)
                return self._listed(call, at, rule.provider)
        return self._listed(call, at, None) if self.is_library_for_all else None

    def _listed(self, call: PricedCall, at: datetime, provider: str | None) -> Tariff | None:
        if self.library is None:
            return None
        for model in (call.served_model, call.requested_model):
            if model:
                found = self.library.find(call.upstream, model, call.tier, at, provider)
                if found is not None:
                    return tuple(_rates(above, prices) for above, prices in found)
        return None


def cost_of(tariff: Tariff, counts: TokenCounts) -> int | None:
    """Give the cost in picodollars by these prices; None when a count is not known, or it comes to nonsense."""
    if counts[0] is None or counts[1] is None:
        return None
    rates = tariff[0]
    if len(tariff) > 1:
        for each in tariff[1:]:
            if counts[0] > each.above:
                rates = each
    cost = _cost(rates, counts)
    return cost if 0 <= cost <= MAX_COST else None


def dollars(picodollars: int) -> str:
    """Write a cost as exact decimal text in dollars."""
    whole, rest = divmod(abs(picodollars), PICODOLLARS)
    fraction = f"{rest:012d}".rstrip("0")
    return f"{'-' if picodollars < 0 else ''}{whole}{'.' + fraction if fraction else ''}"


def to_picodollars(text: str) -> int:
    """Undo `dollars`.

    Raises:
        ValueError: The text is no number, or one beyond all costs.
    """
    try:
        value = Decimal(text) * PICODOLLARS
        if not value.is_finite() or abs(value) >= 2**63:
            raise ValueError("beyond 64 bits")
        return int(value)
    except ArithmeticError as exc:
        raise ValueError("no number") from exc


def _matches(rule: PriceRule, call: PricedCall, at: datetime) -> bool:
    names = [name for name in (call.served_model, call.requested_model) if name] or [""]
    return (
        (rule.starts_at is None or rule.starts_at <= at)
        and (rule.tier is None or rule.tier == call.tier)
        and fnmatchcase(call.route, rule.route)
        and fnmatchcase(call.upstream, rule.upstream)
        and any(fnmatchcase(name, rule.model) for name in names)
    )


def _rates(above: int, prices: Mapping[str, Decimal]) -> Rates:
    """Fill in what has no price of its own."""
    told = {name: _per_token(price) for name, price in prices.items()}
    into, out = told.get("input", 0), told.get("output", 0)
    write = told.get("cache_write", into)
    return Rates(
        above,
        into,
        out,
        told.get("cached", into),
        write,
        told.get("cache_write_1h", write),
        told.get("reasoning", out),
        told.get("audio_input", into),
        told.get("audio_output", out),
    )


def _per_token(price: Decimal) -> int:
    return int((price * (PICODOLLARS // 1_000_000)).to_integral_value(ROUND_HALF_EVEN))


def _cost(rates: Rates, counts: TokenCounts) -> int:
    """Price each part once: what a part has is taken from its whole."""
    _, into, out, read, write, write_1h, thought, heard, said = rates
    inputs, outputs, cached, written, written_1h, reasoning, audio_input, audio_output, _ = counts
    cost = (inputs or 0) * into + (outputs or 0) * out
    if cached:
        cost += cached * (read - into)
    if written:
        cost += written * (write - into)
    if written_1h:
        cost += written_1h * (write_1h - write)
    if reasoning:
        cost += reasoning * (thought - out)
    if audio_input:
        cost += audio_input * (heard - into)
    if audio_output:
        cost += audio_output * (said - out)
    return cost


def _rule(told: dict[str, Any]) -> PriceRule:
    starts_at = told.pop("starts_at")
    at = None if starts_at is None else datetime.fromisoformat(starts_at).astimezone(UTC)
    return PriceRule(**told, starts_at=at)
