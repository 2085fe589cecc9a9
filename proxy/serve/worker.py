"""A data worker: the process that moves bytes."""

import asyncio
import gc
import logging
import signal
import socket

from proxy.calls.body_copy import HeldBytes
from proxy.calls.exchange import Recorder
from proxy.calls.keys import KeyRing
from proxy.calls.relay import Admission, Relay
from proxy.calls.upstream import Upstream
from proxy.journal.writer import JOURNAL_FOLDER, Journal
from proxy.metrics.folder import metrics_folder
from proxy.metrics.teller import Teller
from proxy.metrics.worker_metrics import WorkerMetrics
from proxy.serve.descriptors import carried_connections
from proxy.serve.readiness import say_ready
from proxy.settings import ServeSettings
from proxy.wire.client_connections import ClientLimits
from proxy.wire.listener import Listener
from proxy.wire.pool import Pool
from proxy.wire.upstream_proxy import UpstreamProxies
from store.trace import Outcome

_log = logging.getLogger("tracemill.worker")

_OBJECTS_A_COLLECTION = 10_000


async def run_worker(settings: ServeSettings, listener: socket.socket, salt: bytes, ready: int | None = None) -> None:
    """Serve the data port until this process is told to stop; then finish what is in flight.

    Args:
        settings: The settings in force.
        listener: The bound socket; several workers may share it.
        salt: For key fingerprints.
        ready: Descriptor to say by that the port is served; None when nobody waits for that.
    """
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    keys = KeyRing(settings.data_dir, is_required=settings.require_proxy_key)
    keeping_fresh = asyncio.create_task(keys.keep_fresh(), name="proxy keys")
    recorder = _recorder(settings, salt)
    pool = _pool(settings)
    upstream = Upstream(pool)
    relay = Relay(settings.route_table(), _admission(settings, keys), upstream, recorder)
    server = Listener(relay.serve, _limits(settings), recorder.metrics.refused)
    recorder.metrics.watch(
        journal=recorder.journal,
        client_connections=lambda: server.open_connections,
        upstream_connections=lambda: (pool.connections - pool.idle_connections, pool.idle_connections),
    )
    teller = Teller(metrics_folder(), "worker", recorder.metrics.counts)
    # Calls leave nothing to the collector; as it stands, it would still look through all that lives now and again.
    gc.freeze()
    gc.set_threshold(_OBJECTS_A_COLLECTION, *gc.get_threshold()[1:])
    await server.open(listener)
    if ready is not None:
        say_ready(ready)
    await stop.wait()
    await server.drain(settings.drain_timeout_s)
    # What outlasted the drain is ended here, while the journal lives, and before its tasks are.
    for exchange in list(recorder.open):
        exchange.end(Outcome.INTERRUPTED)
    await server.close()
    keeping_fresh.cancel()
    await asyncio.to_thread(recorder.journal.close)
    await upstream.close()
    teller.close()


def _recorder(settings: ServeSettings, salt: bytes) -> Recorder:
    journal = Journal(
        settings.data_dir / JOURNAL_FOLDER,
        max_pending_bytes=settings.max_pending_bytes,
        max_disk_bytes=settings.max_journal_bytes,
        durability=settings.durability,
    )
    return Recorder(
        journal=journal,
        metrics=WorkerMetrics(),
        max_capture_bytes=settings.max_capture_bytes,
        salt=salt,
        open=set(),
        held=HeldBytes(settings.max_pending_bytes),
    )


def _pool(settings: ServeSettings) -> Pool:
    proxies = None if settings.upstream_proxy_from_env else UpstreamProxies({}, ())
    return Pool(ca_file=settings.upstream_ca_file, proxies=proxies, http2=settings.upstream_http2)


def _admission(settings: ServeSettings, keys: KeyRing) -> Admission:
    return Admission(
        keys=keys,
        max_calls=settings.max_calls,
        max_model_body_bytes=settings.max_capture_bytes,
        must_record=settings.on_capture_failure == "refuse",
    )


def _limits(settings: ServeSettings) -> ClientLimits:
    max_connections = carried_connections(settings.max_connections)
    if max_connections < settings.max_connections:
        _log.warning(
            "the system's limit of open files allows %d connections of clients, less than max_connections = %d; raise "
            "it (`ulimit -n`, LimitNOFILE= of systemd)",
            max_connections,
            settings.max_connections,
        )
    return ClientLimits(
        max_connections=max_connections,
        max_head_bytes=settings.max_head_bytes,
        max_body_bytes=settings.max_body_bytes,
        head_timeout_s=settings.head_timeout_s,
        keep_alive_s=settings.keep_alive_s,
        silence_s=settings.read_timeout_s,
    )
