"""An application of `tests/apps`, and what must be true of its trail when a test has ended."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import Engine, select
from sqlalchemy.orm import sessionmaker

from auditspan import AuditTrail
from integration.capture.application import Application


def fresh(package: str) -> Any:
    """Import a package as a process of its own would: its models were under no trail before."""
    loaded = [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]
    for name in loaded:
        del sys.modules[name]
    return importlib.import_module(package)


@contextmanager
def watched(
    engine: Engine,
    trail: AuditTrail | None,
    caplog: pytest.LogCaptureFixture,
    *,
    secrets: Collection[str],
) -> Iterator[None]:
    """Ask the oracle when the block has ended, where there is a trail."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("tests").start_as_current_span("test"):
        yield
    if trail is not None:
        application = under(engine, trail)
        application.check()
        said = [span.to_json() for span in exporter.get_finished_spans()]
        said += [json.dumps(event) for event in application.events()]
        said += [*_audit_rows(application), *_logged(caplog)]
        assert [] == [secret for secret in secrets if any(secret in text for text in said)]
    engine.dispose()


def under(engine: Engine, trail: AuditTrail) -> Application:
    """The application with its trail."""
    return Application(
        engine=engine, metadata=trail.tables.event.metadata, sessions=sessionmaker(), trail=trail
    )


def _audit_rows(application: Application) -> Iterator[str]:
    tables = application.metadata.tables.values()
    with application.engine.connect() as connection:
        for table in tables:
            if table.name.startswith("audit_"):
                yield from (str(row) for row in connection.execute(select(table)))


def _logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What other loggers than SQLAlchemy's wrote."""
    format_ = logging.Formatter().format
    return [format_(record) for record in caplog.records if "sqlalchemy" not in record.name]
