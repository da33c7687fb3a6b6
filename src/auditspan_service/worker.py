"""The service's worker, with its own engine and the keys and sinks of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from auditspan import MacKey
from auditspan.delivery import ConsoleSink, FileSink, OtlpSink, Sink, TlsFiles
from auditspan.seal import LastSignedFile
from auditspan.storage import audit_tables
from auditspan.worker import Worker
from auditspan_service.config import Settings
from auditspan_service.database.engine import make_engine
from auditspan_service.destinations import Destination
from auditspan_service.files.key_files import (
    last_signed_file,
    load_mac_keys,
    load_or_create_signing_keys,
)
from auditspan_service.models import Base


@contextmanager
def running_worker(settings: Settings) -> Iterator[Worker]:
    """Run a worker during the block. Its engine is not instrumented, so it makes no spans.

    The signing key is created only for an embedded database. All workers of a shared database need
    the same key.

    Raises:
        KeyFileError: there is no signing key, or it cannot be read.
    """
    signing_keys = load_or_create_signing_keys(
        settings.signing_key_file, create=settings.is_embedded
    )
    engine = make_engine(settings.database_url)
    worker = Worker(
        engine,
        audit_tables(Base.metadata),
        make_sinks(settings),
        signing_key=signing_keys,
        mac_key=_mac_keys(settings),
        last_signed=LastSignedFile(
            last_signed_file(settings.signing_key_file), log=signing_keys[0].name
        ),
    )
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
        engine.dispose()


def _mac_keys(settings: Settings) -> tuple[MacKey, ...]:
    """Return the MAC keys if their file exists; a worker can seal without them."""
    return load_mac_keys(settings.mac_key_file) if settings.mac_key_file.exists() else ()


def make_sinks(settings: Settings) -> tuple[Sink, ...]:
    """Create the sink of `AUDITSPAN_SINK`, and one for each of `AUDITSPAN_MORE_SINKS`."""
    return tuple(make_sink(settings, name) for name in (settings.sink, *settings.more_sinks))


def make_sink(settings: Settings, name: str) -> Sink:
    """Create the sink with this name.

    Raises:
        KeyError: it is neither that of `AUDITSPAN_SINK` nor one of `AUDITSPAN_MORE_SINKS`.
    """
    if name != settings.sink:
        return otlp_sink(settings.more_sinks[name], name=name)
    match settings.sink:
        case "otlp":
            return otlp_sink(audit_destination(settings), name="otlp")
        case "file":
            return FileSink(settings.collector_files)
        case "console":
            return ConsoleSink()


def audit_destination(settings: Settings) -> Destination:
    """Return the collector that the sink `otlp` delivers to."""
    return Destination(
        endpoint=settings.audit_endpoint,
        certificate=settings.audit_certificate,
        client_certificate=settings.audit_client_certificate,
        client_key=settings.audit_client_key,
        headers=settings.audit_headers,
        timeout=settings.audit_timeout,
        compression=settings.audit_compression,
        acknowledgement=settings.audit_acknowledgement,
    )


def destinations(settings: Settings) -> dict[str, Destination]:
    """Return the receivers that records are delivered to, by the name of their sink."""
    first = {"otlp": audit_destination(settings)} if settings.sink == "otlp" else {}
    return {**first, **settings.more_sinks}


def otlp_sink(
    destination: Destination, *, name: str = "otlp", timeout: float | None = None
) -> OtlpSink:
    """Create a sink for this destination; `timeout` overrides the destination's own."""
    return OtlpSink(
        destination.endpoint,
        name=name,
        timeout=timeout or destination.timeout,
        tls=tls_files(destination),
        headers=destination.headers,
        compression=destination.compression,
        acknowledgement=destination.acknowledgement,
    )


def tls_files(destination: Destination) -> TlsFiles:
    """Return the TLS files of a destination."""
    return TlsFiles(
        certificate=destination.certificate,
        client_certificate=destination.client_certificate,
        client_key=destination.client_key,
    )
