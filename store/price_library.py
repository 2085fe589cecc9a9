"""The price list that others keep: the package `genai-prices` (MIT), as it is installed; nothing is fetched.

It is an extra (`pip install 'tracemill[prices]'`). An upstream's URL tells whose prices hold, so a server of your own
that serves a model of a known name is not priced as if its maker did.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

_PACKAGE = "genai-prices"
_KEYS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
}
"""The list's names of what we price; other things, such as searches, are not in `usage`."""

Listed = list[tuple[int, Mapping[str, Decimal]]]
"""Dollars per million tokens by kind, from a number of input tokens on, exclusive; the first is for all."""


class Library:
    """The list, loaded when it is first asked.

    Attributes:
        version: Of the package; None when it is not installed, and nothing is found.
    """

    def __init__(self) -> None:
        # Imported here: it brings a parser of mail, and settings are read where nothing is priced.
        from importlib.metadata import PackageNotFoundError, version

        try:
            self.version: str | None = version(_PACKAGE)
        except PackageNotFoundError:
            self.version = None
        self._models: dict[tuple[str, str, str | None], Any] = {}

    def find(self, upstream: str, model: str, tier: str | None, at: datetime, provider: str | None) -> Listed | None:
        """Give a model's prices; None when the list has none.

        Args:
            upstream: Base URL.
            model: As requested or served.
            tier: See `TokenCounts`.
            at: When the call was made.
            provider: Whose prices hold; None to tell by the upstream.
        """
        if self.version is None or (provider is None and not _has_public_name(upstream)):
            return None
        key = (upstream, model, provider)
        if key not in self._models:
            if len(self._models) >= 10_000:
                self._models.clear()
            self._models[key] = self._find_model(upstream, model, provider)
        found = self._models[key]
        if found is None:
            return None
        context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier} if tier else None
        return _prices(found.get_prices(at, context))

    @property
    def provider_names(self) -> list[str]:
        """The names of all providers that it knows."""
        return sorted(each.id for each in self._providers)

    @cached_property
    def _providers(self) -> list[Any]:
        from genai_prices.data import providers

        return list(providers)

    def _find_model(self, upstream: str, model: str, provider: str | None) -> Any:  # noqa: ANN401 - the package's own type
        for each in self._providers:
            is_meant = each.id == provider if provider else re.match(each.api_pattern, upstream)
            if is_meant:
                found = each.find_model(model, all_providers=self._providers)
                if found is not None:
                    return found
        return None


def _has_public_name(upstream: str) -> bool:
    """Tell whether an upstream may be one of the list's: all have domains, and loading the list takes 20 MB."""
    host = urlsplit(upstream).hostname or ""
    return "." in host and not host.replace(".", "").isdigit()


def _prices(found: Any) -> Listed | None:  # noqa: ANN401 - the package's own type
    told = {name: value for key, name in _KEYS.items() if (value := getattr(found, key, None)) is not None}
    if "input" not in told or "output" not in told:
        return None
    starts = {tier.start for value in told.values() for tier in getattr(value, "tiers", ())}
    return [(above, {name: _at(value, above) for name, value in told.items()}) for above in (-1, *sorted(starts))]


def _at(price: Any, above: int) -> Decimal:  # noqa: ANN401 - the package's own type
    """Give the price for a call of just more input tokens than that."""
    if isinstance(price, Decimal):
        return price
    held: Decimal = price.base
    for tier in price.tiers:
        if above >= tier.start:
            held = tier.price
    return held
