"""The process that sends stored traces to an OTLP collector."""

import asyncio
import os
import signal
from contextlib import closing
from importlib.metadata import version

from proxy.metrics.folder import metrics_folder
from proxy.metrics.otlp_metrics import OtlpMetrics
from proxy.metrics.teller import Teller
from proxy.otlp.collector import Collector
from proxy.otlp.config import read_headers, traces_url
from proxy.otlp.exporter import Identity, SpanExport
from proxy.settings import ServeSettings
from store.data_files import TRACES_FILE


async def run_otlp(settings: ServeSettings) -> None:
    """Send what is stored until this process is told to stop; what is left is sent at the next start."""
    if settings.otlp_endpoint is None:
        raise ValueError("this process is started only when otlp_endpoint is set")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # The name that every OpenTelemetry SDK goes by.
    service = os.environ.get("OTEL_SERVICE_NAME") or "tracemill"
    identity = Identity(service, version("tracemill"), settings.otlp_content)
    metrics = OtlpMetrics()
    headers = read_headers(settings.otlp_headers_env, os.environ)
    collector = Collector(traces_url(settings.otlp_endpoint), headers)
    with closing(Teller(metrics_folder(), "otlp", metrics.counts)):
        await SpanExport(settings.data_dir / TRACES_FILE, collector, identity, metrics, stop).run()
    await collector.close()
