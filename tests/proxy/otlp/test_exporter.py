"""From the store to a collector: at least once, whatever the collector does."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from proxy.metrics.otlp_metrics import OtlpMetrics
from proxy.otlp.collector import Collector
from proxy.otlp.exporter import POSITION_FILE, Identity, SpanExport
from store.traces import TraceWriter
from tests.proxy.otlp.receiver import Receiver, attributes, receiving, spans
from tests.proxy.otlp.test_span import WHOLE

UNSAMPLED = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}


async def store(data_dir: Path, *numbers: int, tags: dict[str, str] | None = None) -> None:
    async with await TraceWriter.open(data_dir / "traces.db") as writer:
        await writer.write([replace(WHOLE, id=UUID(int=number), tags=tags or {}) for number in numbers])


@asynccontextmanager
async def exporting(data_dir: Path, url: str, **headers: str) -> AsyncIterator[OtlpMetrics]:
    metrics, stop = OtlpMetrics(), asyncio.Event()
    collector = Collector(f"{url}/v1/traces", headers)
    export = SpanExport(data_dir / "traces.db", collector, Identity("app", "1.2", False), metrics, stop)
    running = asyncio.create_task(export.run())
    try:
        await until((data_dir / POSITION_FILE).exists)
        yield metrics
    finally:
        stop.set()
        await asyncio.wait_for(running, 5)
        await collector.close()


async def until(condition: Callable[[], object], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


def numbers(receiver: Receiver) -> list[int]:
    return [UUID(attributes(span)["tracemill.trace_id"]).int for span in receiver.taken]


def noted(data_dir: Path) -> int:
    return int((data_dir / POSITION_FILE).read_text())


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path


async def test_what_is_stored_is_sent_in_the_order_of_storing(data_dir: Path) -> None:
    with receiving() as receiver:
        async with exporting(data_dir, receiver.url, **{"x-key": "k"}) as metrics:
            await store(data_dir, 5, 4)
            await until(lambda: numbers(receiver) == [5, 4])
            await store(data_dir, 3)
            await until(lambda: numbers(receiver) == [5, 4, 3])
            await until(lambda: noted(data_dir) == 3)
            assert metrics.counts().counters["tracemill_otlp_spans"] == {(): 3}
    assert receiver.headers[0]["x-key"] == "k"
    assert receiver.headers[0]["content-type"] == "application/x-protobuf"
    assert set(receiver.paths) == {"/v1/traces"}
    resource = receiver.requests[0].resource_spans[0]
    assert attributes(resource.resource) == {"service.name": "app", "service.version": "1.2"}
    assert (data_dir / POSITION_FILE).stat().st_mode & 0o777 == 0o600


async def test_what_was_there_before_the_first_start_is_not_sent(data_dir: Path) -> None:
    await store(data_dir, 1, 2)
    with receiving() as receiver:
        async with exporting(data_dir, receiver.url):
            await store(data_dir, 3)
            await until(lambda: receiver.taken)
    assert numbers(receiver) == [3]


async def test_a_restart_goes_on_where_it_was(data_dir: Path) -> None:
    with receiving() as receiver:
        async with exporting(data_dir, receiver.url):
            await store(data_dir, 1)
            await until(lambda: receiver.taken and noted(data_dir) == 1)
        await store(data_dir, 2)
        async with exporting(data_dir, receiver.url):
            await until(lambda: len(receiver.taken) == 2)
    assert numbers(receiver) == [1, 2]


async def test_a_collector_that_is_down_is_waited_for_and_gets_everything(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with exporting(data_dir, f"http://127.0.0.1:{port}") as metrics:
        await store(data_dir, 1, 2)
        await until(lambda: metrics.counts().counters["tracemill_otlp_failures"][()])
        assert metrics.counts().gauges["tracemill_otlp_behind"] == {(): 2}
        with receiving(port) as receiver:
            await until(lambda: len(receiver.taken) == 2)
    assert numbers(receiver) == [1, 2]


async def test_a_collector_that_asks_for_patience_gets_the_same_again(data_dir: Path) -> None:
    with receiving() as receiver:
        receiver.answers = [(503, {"retry-after": "0"}, b""), (429, {"retry-after": "0"}, b"")]
        async with exporting(data_dir, receiver.url) as metrics:
            await store(data_dir, 1)
            await until(lambda: receiver.taken)
        assert metrics.counts().counters["tracemill_otlp_failures"] == {(): 2}
    assert receiver.requests[0] == receiver.requests[1] == receiver.requests[2]


async def test_spans_that_are_refused_for_good_hold_up_no_others(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    partial = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=1))
    with receiving() as receiver:
        receiver.answers = [(400, {}, b"you said sk-secret"), (200, {}, partial.SerializeToString())]
        async with exporting(data_dir, receiver.url) as metrics:
            await store(data_dir, 1)
            await until(lambda: noted(data_dir) == 1)
            await store(data_dir, 2, 3)
            await until(lambda: noted(data_dir) == 3)
        counters = metrics.counts().counters
    assert (counters["tracemill_otlp_rejected"], counters["tracemill_otlp_spans"]) == ({(): 2}, {(): 1})
    assert "refused 1 spans for good (status 400)" in caplog.text
    assert "sk-secret" not in caplog.text


async def test_a_redirect_takes_no_spans_and_no_key_elsewhere(data_dir: Path) -> None:
    with receiving() as receiver, receiving() as elsewhere:
        receiver.answers = [(307, {"location": elsewhere.url + "/v1/traces"}, b"")]
        async with exporting(data_dir, receiver.url) as metrics:
            await store(data_dir, 1)
            await until(lambda: noted(data_dir) == 1)
        assert metrics.counts().counters["tracemill_otlp_rejected"] == {(): 1}
    assert elsewhere.requests == []


async def test_calls_of_traces_that_nobody_records_are_passed_over(data_dir: Path) -> None:
    with receiving() as receiver:
        async with exporting(data_dir, receiver.url):
            await store(data_dir, 1, tags=UNSAMPLED)
            await until(lambda: noted(data_dir) == 1)
            await store(data_dir, 2)
            await until(lambda: receiver.taken)
    assert numbers(receiver) == [2]


async def test_no_request_is_larger_than_a_batch(data_dir: Path) -> None:
    with receiving() as receiver:
        async with exporting(data_dir, receiver.url):
            await store(data_dir, *range(1, 251))
            await until(lambda: len(receiver.taken) == 250)
    assert max(len(spans(request)) for request in receiver.requests) <= 100
    assert numbers(receiver) == list(range(1, 251))


async def test_a_position_that_cannot_be_read_sends_nothing_twice(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await store(data_dir, 1)
    (data_dir / POSITION_FILE).write_text("here")
    with receiving() as receiver:
        async with exporting(data_dir, receiver.url):
            await until(lambda: "holds no position" in caplog.text)
            await store(data_dir, 2)
            await until(lambda: receiver.taken)
    assert numbers(receiver) == [2]
