"""The price table of the configuration."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from proxy.errors import SettingsError
from store.price import KINDS, PriceBook, PriceRule
from store.price_library import Library

_Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000, max_digits=15, decimal_places=6)]


class PriceEntry(BaseModel):
    """One line of the table: which calls it is for, and what their tokens cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("*", description="Pattern (`*`, `?`, `[...]`) of the model that was served or asked for.")
    route: str = Field("*", description="Pattern of the route's name.")
    upstream: str = Field("*", description="Pattern of the upstream's base URL.")
    starts_on: date | None = Field(None, description="Calls before this day (UTC) do not match.")
    tier: Literal["flex", "priority", "batch"] | None = Field(None, description="Only calls of this service tier.")
    input: _Dollars | None = Field(None, description="Dollars per million tokens of the request.")
    output: _Dollars | None = Field(None, description="Dollars per million tokens of the answer.")
    cached: _Dollars | None = Field(None, description="Of the request, read from the upstream's cache; else `input`.")
    cache_write: _Dollars | None = Field(None, description="Of the request, written into the cache; else `input`.")
    cache_write_1h: _Dollars | None = Field(
        None, description="Of those written, what is kept for an hour; else `cache_write`."
    )
    reasoning: _Dollars | None = Field(None, description="Of the answer, reasoning; else `output`.")
    audio_input: _Dollars | None = Field(None, description="Of the request, audio; else `input`.")
    audio_output: _Dollars | None = Field(None, description="Of the answer, audio; else `output`.")
    provider: str | None = Field(
        None,
        description="In place of prices: the prices of this provider of the library hold, such as `openai` for a "
        "gateway that bills what it does.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.provider is not None:
            if self.dollars():
                raise SettingsError("prices: an entry has a provider or prices of its own, not both.")
        elif self.input is None or self.output is None:
            raise SettingsError("prices: an entry needs input and output, or a provider; 0 is free.")
        return self

    def dollars(self) -> dict[str, str]:
        """Give the prices that are told, by what they are for."""
        told = {name: getattr(self, name) for name in KINDS}
        return {name: format(price, "f") for name, price in told.items() if price is not None}

    def rule(self) -> PriceRule:
        """Give the entry as the store takes it."""
        starts_at = None if self.starts_on is None else datetime.combine(self.starts_on, time(), UTC)
        return PriceRule(
            self.model, self.route, self.upstream, starts_at, self.tier, self.dollars(), provider=self.provider
        )


def make_price_book(entries: tuple[PriceEntry, ...], *, has_library: bool) -> PriceBook:
    """Make the prices that these settings tell."""
    asks_library = has_library or any(entry.provider is not None for entry in entries)
    rules = [entry.rule() for entry in entries]
    return PriceBook(rules, Library() if asks_library else None, is_library_for_all=has_library)


def check_provider(name: str) -> None:
    """Check that the library has a provider.

    Raises:
        SettingsError: It has not, or it is not installed.
    """
    library = Library()
    if library.version is None:
        raise SettingsError(
            f"prices: the provider {name!r} is the library's; install it: pip install 'tracemill[prices]'."
        )
    if name not in library.provider_names:
        raise SettingsError(f"prices: there is no provider {name!r}; known are {', '.join(library.provider_names)}.")
