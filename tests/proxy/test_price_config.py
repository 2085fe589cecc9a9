"""The price table of the configuration becomes the prices of the store, or is refused at start."""

import asyncio
from pathlib import Path

import pytest

from proxy.errors import SettingsError
from proxy.ingest.ingest import run_ingest
from proxy.price_config import make_price_book
from proxy.serve.ingest_process import make_chores, make_raw_calls
from proxy.settings_source import load_settings
from store.price import PricedCall
from store.token_counts import TokenCounts
from store.traces import TraceReader, TraceWriter
from store.usage_stats import read_usage
from tests.store.traces import make_trace

UPSTREAM = {"upstream": "http://127.0.0.1:9/v1"}
TABLE = """
prices:
  - {model: "local-*", input: 0, output: 0}
  - {model: m, starts_on: 2026-07-01, input: 1.5, output: 10, cached: 0.000001}
  - {upstream: "http://gateway*", provider: openai}
"""


def load(tmp_path: Path, text: str, **flags: object):  # type: ignore[no-untyped-def] # noqa: ANN201
    path = tmp_path / "tracemill.yaml"
    path.write_text(text)
    return load_settings({**UPSTREAM, **flags}, path)


def test_a_table_is_read(tmp_path: Path) -> None:
    settings = load(tmp_path, TABLE)
    book = make_price_book(settings.prices, has_library=settings.price_library)
    counts = TokenCounts(1000, 100, cached=10)

    def cost(model: str, upstream: str = "http://u/v1", slot: int = 10**6) -> int | None:
        return book.cost(PricedCall("default", upstream, model, None, None, slot), counts)

    assert cost("local-llama") == 0
    assert cost("m") == 990 * 1_500_000 + 10 * 1 + 100 * 10_000_000
    assert cost("m", slot=0) is None
    assert cost("gpt-4o-mini", "http://gateway/v1") is not None
    assert cost("gpt-4o-mini") is None
    assert cost("gpt-4o-mini", "https://api.openai.com/v1") is not None
    alone = make_price_book(settings.prices, has_library=False)
    openai = PricedCall("default", "https://api.openai.com/v1", "gpt-4o-mini", None, None, 10**6)
    assert alone.cost(openai, counts) is None
    assert alone.cost(openai._replace(upstream="http://gateway/v1"), counts) is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prices: [{model: m, input: 1}]", "needs input and output"),
        ("prices: [{model: m, input: 1, output: -1}]", "greater than or equal to 0"),
        ("prices: [{model: m, input: 0.0000001, output: 1}]", "6 decimal places"),
        ("prices: [{model: m, input: 1, output: 1, provider: openai}]", "not both"),
        ("prices: [{provider: nobody}]", "there is no provider 'nobody'"),
        ("prices: [{modle: m, input: 1, output: 1}]", "did you mean 'model'"),
        ("prices: [{input: 1, output: 1}]\nno_capture: true", "prices has no effect with no_capture"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(tmp_path, text)


async def test_a_server_with_another_table_prices_what_is_stored_anew(tmp_path: Path) -> None:
    usage = b'{"prompt_tokens":1000000,"completion_tokens":0}'
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([make_trace(1, usage=usage, requested_model="m")])
    for price in ("1.5", "2"):
        settings = load(tmp_path, f"prices: [{{model: m, input: {price}, output: 0}}]", data_dir=tmp_path)
        raw_calls = make_raw_calls(settings)
        stop, chores = asyncio.Event(), make_chores(settings, raw_calls)
        ingest = asyncio.create_task(
            run_ingest(tmp_path, stop, max_decoded_bytes=1 << 20, chores=chores, raw_calls=raw_calls)
        )
        async with await TraceReader.open(tmp_path / "traces.db") as reader, asyncio.timeout(10):
            while (await read_usage(reader)).total.to_json()["cost_usd"] != float(price):
                await asyncio.sleep(0.01)
        stop.set()
        await ingest
