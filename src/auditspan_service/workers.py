"""The worker as the service configures it: its own engine, its keys, the sink of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from auditspan import MacKey
from auditspan.otlp import OtlpSink
from auditspan.sinks import ConsoleSink, FileSink, Sink
from auditspan.tables import audit_tables
from auditspan.worker import Worker
from auditspan_service.config import Settings
from auditspan_service.db import make_engine
from auditspan_service.keyfile import load_mac_keys, load_or_create_signing_keys
from auditspan_service.models import Base


@contextmanager
def running_worker(settings: Settings) -> Iterator[Worker]:
    """A worker that works inside the block. Its engine is not instrumented: it leaves no spans.

    The signing key is made where the database is the embedded one. Workers of a shared database
    need the one key that all of them have.

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
        make_sink(settings),
        signing_key=signing_keys,
        mac_key=_mac_keys(settings),
    )
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
        engine.dispose()


def _mac_keys(settings: Settings) -> tuple[MacKey, ...]:
    """The MAC keys where this process has them: it writes no rows, and can do without."""
    return load_mac_keys(settings.mac_key_file) if settings.mac_key_file.exists() else ()


def make_sink(settings: Settings) -> Sink:
    """The sink that `AUDITSPAN_SINK` names."""
    match settings.sink:
        case "otlp":
            return OtlpSink(settings.audit_endpoint)
        case "file":
            return FileSink(settings.collector_files)
        case "console":
            return ConsoleSink()
