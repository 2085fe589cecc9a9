"""The price table of the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from proxy.declaration import ENTRY_CONFIG, setting
from proxy.errors import SettingsError

if TYPE_CHECKING:
    from store.price import PriceBook, PriceRule

_DOLLARS: Mapping[str, Any] = {"ge": 0, "le": 1_000_000, "max_digits": 15, "decimal_places": 6}


@dataclass(frozen=True, kw_only=True)
class PriceEntry:
    """One line of the table: which calls it is for, and what their tokens cost."""

    __pydantic_config__ = ENTRY_CONFIG

    model: str = setting("*", "Pattern (`*`, `?`, `[...]`) of the model that was served or asked for.")
    route: str = setting("*", "Pattern of the route's name.")
    upstream: str = setting("*", "Pattern of the upstream's base URL.")
    starts_on: date | None = setting(None, "Calls before this day (UTC) do not match.")
    tier: Literal["flex", "priority", "batch"] | None = setting(None, "Only calls of this service tier.")
    input: Decimal | None = setting(None, "Dollars per million tokens of the request.", **_DOLLARS)
    output: Decimal | None = setting(None, "Dollars per million tokens of the answer.", **_DOLLARS)
    cached: Decimal | None = setting(None, "Of the request, read from the upstream's cache; else `input`.", **_DOLLARS)
    cache_write: Decimal | None = setting(None, "Of the request, written into the cache; else `input`.", **_DOLLARS)
    cache_write_1h: Decimal | None = setting(
        None, "Of those written, what is kept for an hour; else `cache_write`.", **_DOLLARS
    )
    reasoning: Decimal | None = setting(None, "Of the answer, reasoning; else `output`.", **_DOLLARS)
    audio_input: Decimal | None = setting(None, "Of the request, audio; else `input`.", **_DOLLARS)
    audio_output: Decimal | None = setting(None, "Of the answer, audio; else `output`.", **_DOLLARS)
    provider: str | None = setting(
        None,
        "In place of prices: the prices of this provider of the library hold, such as `openai` for a "
        "gateway that bills what it does.",
    )

    def __post_init__(self) -> None:
        """Raise SettingsError where there are prices and a provider, or neither."""
        if self.provider is not None:
            if self.dollars():
                raise SettingsError("prices: an entry has a provider or prices of its own, not both.")
        elif self.input is None or self.output is None:
            raise SettingsError("prices: an entry needs input and output, or a provider; 0 is free.")

    def dollars(self) -> dict[str, str]:
        """Give the prices that are told, by what they are for."""
        from store.price import KINDS

        told = {name: getattr(self, name) for name in KINDS}
        return {name: format(price, "f") for name, price in told.items() if price is not None}

    def rule(self) -> "PriceRule":
        """Give the entry as the store takes it."""
        from store.price import PriceRule

        starts_at = None if self.starts_on is None else datetime.combine(self.starts_on, time(), UTC)
        return PriceRule(
            self.model, self.route, self.upstream, starts_at, self.tier, self.dollars(), provider=self.provider
        )


def make_price_book(entries: tuple[PriceEntry, ...], *, has_library: bool) -> "PriceBook":
    """Make the prices that these settings tell."""
    # Imported here: a worker has settings and no database.
    from store.price import PriceBook
    from store.price_library import Library

    asks_library = has_library or any(entry.provider is not None for entry in entries)
    rules = [entry.rule() for entry in entries]
    return PriceBook(rules, Library() if asks_library else None, is_library_for_all=has_library)


def check_provider(name: str) -> None:
    """Check that the library has a provider.

    Raises:
        SettingsError: It has not, or it is not installed.
    """
    from store.price_library import Library

    library = Library()
    if library.version is None:
        raise SettingsError(
            f"prices: the provider {name!r} is the library's; install it: pip install 'tracemill[prices]'."
        )
    if name not in library.provider_names:
        raise SettingsError(f"prices: there is no provider {name!r}; known are {', '.join(library.provider_names)}.")
