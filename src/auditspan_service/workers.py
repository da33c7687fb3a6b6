"""The worker as the service configures it: its own engine, and the sink of the settings."""

from __future__ import annotations

from auditspan.otlp import OtlpSink
from auditspan.sinks import ConsoleSink, FileSink, Sink
from auditspan.tables import audit_tables
from auditspan.worker import Worker
from auditspan_service.config import Settings
from auditspan_service.db import make_engine
from auditspan_service.models import Base


def make_worker(settings: Settings) -> Worker:
    """A worker that is ready to start. Its engine is not instrumented: it leaves no spans."""
    return Worker(
        make_engine(settings.database_url), audit_tables(Base.metadata), make_sink(settings)
    )


def make_sink(settings: Settings) -> Sink:
    """The sink that `AUDITSPAN_SINK` names."""
    match settings.sink:
        case "otlp":
            return OtlpSink(settings.audit_endpoint)
        case "file":
            return FileSink(settings.collector_files)
        case "console":
            return ConsoleSink()
