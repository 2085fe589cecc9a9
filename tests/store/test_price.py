"""What calls cost: exact, from the prices that held then, and None where no price is known."""

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.price import PICODOLLARS, SLOT_MICROS, PriceBook, PricedCall, PriceRule, dollars, to_picodollars
from store.price_library import Library
from store.token_counts import TokenCounts
from store.trace_rows import to_micros

OPENAI = "https://api.openai.com/v1"


def call(model: str | None = "m", requested: str | None = None, **fields: object) -> PricedCall:
    at = fields.pop("at", datetime(2026, 6, 1, tzinfo=UTC))
    assert isinstance(at, datetime)
    plain = {"route": "default", "upstream": OPENAI, "tier": None, **fields}
    return PricedCall(requested_model=requested, served_model=model, slot=to_micros(at) // SLOT_MICROS, **plain)  # type: ignore[arg-type]


def rule(model: str = "*", **fields: object) -> PriceRule:
    return PriceRule(model, **{"dollars": {"input": "2.5", "output": "10"}, **fields})  # type: ignore[arg-type]


def test_each_part_is_priced_once_and_exactly() -> None:
    prices = {
        "input": "3", "output": "15", "cached": "0.3", "cache_write": "3.75", "cache_write_1h": "6", "reasoning": "16",
        "audio_input": "40", "audio_output": "80",
    }  # fmt: skip
    book = PriceBook([rule(dollars=prices)])
    counts = TokenCounts(1000, 500, 600, 300, 100, 200, 50, 20)
    usual_input, usual_output = 1000 - 600 - 300 - 50, 500 - 200 - 20
    expected = (
        usual_input * Decimal(3) + 600 * Decimal("0.3") + 200 * Decimal("3.75") + 100 * Decimal(6) + 50 * Decimal(40)
        + usual_output * Decimal(15) + 200 * Decimal(16) + 20 * Decimal(80)
    )  # fmt: skip
    assert book.cost(call(), counts) == expected * 10**6
    assert PriceBook([rule()]).cost(call(), counts) == (1000 * 25 + 500 * 100) * 10**5


@pytest.mark.parametrize("counts", [TokenCounts(), TokenCounts(5), TokenCounts(None, 5), TokenCounts(2**40, 2**40)])
def test_what_is_not_known_whole_or_nonsense_costs_nothing_that_is_known(counts: TokenCounts) -> None:
    assert PriceBook([rule(dollars={"input": "1000", "output": "1000"})]).cost(call(), counts) is None


def test_a_model_without_price_costs_null_and_a_free_one_nothing() -> None:
    book = PriceBook([rule("local-*", dollars={"input": "0", "output": "0"})])
    assert book.cost(call("local-1"), TokenCounts(5, 5)) == 0
    assert book.cost(call("other"), TokenCounts(5, 5)) is None
    assert book.cost(call(None, None), TokenCounts(5, 5)) is None


def test_the_first_rule_that_matches_holds() -> None:
    july = datetime(2026, 7, 1, tzinfo=UTC)
    book = PriceBook(
        [
            rule("m", tier="flex", dollars={"input": "1", "output": "0"}),
            rule("m", starts_at=july, dollars={"input": "2", "output": "0"}),
            rule("m", route="b*", dollars={"input": "3", "output": "0"}),
            rule("m", upstream="http://localhost*", dollars={"input": "4", "output": "0"}),
            rule("m-asked", dollars={"input": "5", "output": "0"}),
            rule("m", dollars={"input": "6", "output": "0"}),
        ]
    )
    asked = [
        call(tier="flex"),
        call(at=july),
        call(route="beta"),
        call(upstream="http://localhost:1/v1"),
        call("m-served", "m-asked"),
        call(),
    ]
    assert [book.cost(each, TokenCounts(1, 0)) for each in asked] == [n * 10**6 for n in (1, 2, 3, 4, 5, 6)]


def test_a_book_is_the_same_after_it_was_written() -> None:
    book = PriceBook(
        [rule("a", starts_at=datetime(2026, 7, 1, tzinfo=UTC)), rule(provider="openai", dollars={})], Library()
    )
    again = PriceBook.from_json(book.to_json())
    assert (again.hash, again.rules) == (book.hash, book.rules)
    assert PriceBook(book.rules).hash != book.hash != PriceBook(book.rules[:1], Library()).hash


def test_the_library_prices_models_of_upstreams_that_it_knows() -> None:
    book = PriceBook(library=Library())
    counts = TokenCounts(1_000_000, 0)
    usual = book.cost(call("gpt-4o-mini-2024-07-18"), counts)
    assert usual == to_picodollars("0.15")
    assert book.cost(call("my-alias", "gpt-4o-mini"), counts) == usual
    assert book.cost(call("gpt-4o-mini", upstream="http://127.0.0.1:8000/v1"), counts) is None
    assert book.cost(call("no-such-model"), counts) is None
    assert book.cost(call("gpt-4o-mini"), TokenCounts(1_000_000, 0, cached=1_000_000)) == to_picodollars("0.075")
    elsewhere = PriceBook([rule(upstream="http://gateway*", provider="openai", dollars={})], Library())
    assert elsewhere.cost(call("gpt-4o-mini", upstream="http://gateway/v1"), counts) == usual


def test_the_library_knows_what_held_when_and_what_long_requests_cost() -> None:
    book = PriceBook(library=Library())
    early, late = datetime(2025, 5, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)
    assert book.cost(call("o3", at=early), TokenCounts(1_000_000, 0)) == to_picodollars("10")
    assert book.cost(call("o3", at=late), TokenCounts(1_000_000, 0)) == to_picodollars("2")
    google = call("gemini-2.5-pro", upstream="https://generativelanguage.googleapis.com/v1beta/openai")
    short, long = book.cost(google, TokenCounts(200_000, 0)), book.cost(google, TokenCounts(200_001, 0))
    assert short is not None
    assert long is not None
    assert long > 1.9 * short


@given(st.integers(0, 2**62))
def test_dollars_are_written_exactly(picodollars: int) -> None:
    assert to_picodollars(dollars(picodollars)) == picodollars
    assert Decimal(dollars(picodollars)) * PICODOLLARS == picodollars


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1e30"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no number|beyond"):
        to_picodollars(text)


@pytest.mark.parametrize(
    "upstream", ["http://127.0.0.1:8000/v1", "http://[::1]:8000/v1", "http://localhost/v1", "https://vllm/v1"]
)
def test_a_server_without_a_domain_has_no_price_of_the_library_and_does_not_load_it(upstream: str) -> None:
    script = f"""
import datetime, sys
from store.price_library import Library
library = Library()
assert library.version
assert library.find({upstream!r}, "gpt-4o", None, datetime.datetime.now(datetime.UTC), None) is None
assert "genai_prices" not in sys.modules
assert library.find("https://api.openai.com/v1", "gpt-4o", None, datetime.datetime.now(datetime.UTC), None)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
