"""The worker as the service configures it: its own engine, and the sink of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from auditspan.otlp import OtlpSink
from auditspan.sinks import ConsoleSink, FileSink, Sink
from auditspan.tables import audit_tables
from auditspan.worker import Worker
from auditspan_service.config import Settings
from auditspan_service.db import make_engine
from auditspan_service.models import Base


@contextmanager
def running_worker(settings: Settings) -> Iterator[Worker]:
    """A worker that works inside the block. Its engine is not instrumented: it leaves no spans."""
    engine = make_engine(settings.database_url)
    worker = Worker(engine, audit_tables(Base.metadata), make_sink(settings))
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
        engine.dispose()


def make_sink(settings: Settings) -> Sink:
    """The sink that `AUDITSPAN_SINK` names."""
    match settings.sink:
        case "otlp":
            return OtlpSink(settings.audit_endpoint)
        case "file":
            return FileSink(settings.collector_files)
        case "console":
            return ConsoleSink()
