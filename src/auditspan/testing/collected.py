"""Telemetry that a test session has sent: spans, span events and log records as objects."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from opentelemetry import trace
from sqlalchemy import select

from auditspan.delivery import FileSink, OtlpSink, Sink
from auditspan.delivery.worker import Worker
from auditspan.errors import CollectorFilesError
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp import LogEntry, SpanEvent, SpanRecord, read_logs, read_spans
from auditspan.testing.collector_process import find_collector, running_process
from auditspan.testing.event import Event
from auditspan.testing.spans import CollectorSpans, FileSpans, export_spans
from auditspan.trail import AuditTrail

_PATIENCE = 10.0
"""Seconds to wait for telemetry that is on its way."""

_T = TypeVar("_T")


class CollectedTelemetry:
    """Telemetry of a test session, as a collector has written it to its files.

    Attributes:
        directory: the directory of the files.
        endpoint: the collector's base URL for traces and logs (OTLP/HTTP); None without a
            collector.
        make_sink: returns a sink for the audit records.
    """

    def __init__(
        self, directory: Path, make_sink: Callable[[], Sink], endpoint: str | None = None
    ) -> None:
        self.directory = directory
        self.endpoint = endpoint
        self.make_sink = make_sink

    @contextmanager
    def delivering(self, trail: AuditTrail) -> Iterator[None]:
        """Seal the rows of a trail and deliver them during the block."""
        with trail.opened_engine() as engine:
            worker = Worker(
                engine, trail.tables, self.make_sink(), mac_key=trail.mac_key, interval=0.05
            )
            worker.start()
            try:
                yield
            finally:
                worker.stop()

    @contextmanager
    def trace(self, name: str = "test") -> Iterator[str]:
        """Run the block in a new span; yield the trace id, which a test client's requests have."""
        with trace.get_tracer(__name__).start_as_current_span(name) as span:
            yield trace.format_trace_id(span.get_span_context().trace_id)

    def spans(self, trace_id: str) -> list[SpanRecord]:
        """Return the spans of a trace, in the order in which they ended."""
        return self._read(read_spans, trace_id)

    def span_events(self, trace_id: str) -> list[SpanEvent]:
        """Return the audit events on the spans of a trace."""
        found = (event for span in self.spans(trace_id) for event in span.events)
        return [event for event in found if event.name.startswith("audit.")]

    def audit_records(self, trace_id: str, *, count: int = 1) -> list[LogEntry]:
        """Return the audit log records of a trace, after waiting until there are `count`.

        Raises:
            AssertionError: there are fewer after ten seconds.
        """
        deadline = time.monotonic() + _PATIENCE
        while len(found := self._audit_records(trace_id)) < count:
            if time.monotonic() > deadline:
                names = [record.event_name for record in found]
                raise AssertionError(
                    f"expected {count} audit log records of the trace {trace_id}, found {names} "
                    f"in {self.directory}"
                )
            time.sleep(0.02)
        return found

    def assert_announced(self, trail: AuditTrail, trace_id: str) -> list[Event]:
        """Check that each audit row of a trace has one span event and one equal log record.

        Returns:
            The events, in the order in which they were recorded.

        Raises:
            AssertionError: a row lacks one or has several, or there are others; or there is no row.
        """
        bodies = _bodies(trail, trace_id)
        if not bodies:
            raise AssertionError(f"the trail has no event of the trace {trace_id}")
        records = self.audit_records(trace_id, count=len(bodies))
        on_spans = sorted(
            str(event.attributes[semconv.RECORD_ID]) for event in self.span_events(trace_id)
        )
        logged = sorted(str(record.attributes[semconv.RECORD_ID]) for record in records)
        rows = sorted(bodies)
        if not rows == on_spans == logged:
            raise AssertionError(
                f"trace {trace_id}: {_missing('span event', rows, on_spans)}; "
                f"{_missing('log record', rows, logged)}"
            )
        for record in records:
            id_ = str(record.attributes[semconv.RECORD_ID])
            if record.body != bodies[id_]:
                raise AssertionError(f"the log record of {id_} differs from its row")
        return [Event(json.loads(body)) for body in bodies.values()]

    def _audit_records(self, trace_id: str) -> list[LogEntry]:
        found = self._read(read_logs, trace_id)
        return [record for record in found if semconv.LOG_RECORD_UID in record.attributes]

    def _read(self, read: Callable[..., Iterator[_T]], trace_id: str) -> list[_T]:
        try:
            return list(read(self.directory, trace_id=trace_id))
        except CollectorFilesError:
            return []  # nothing has been written yet


def _bodies(trail: AuditTrail, trace_id: str) -> dict[str, str]:
    event = trail.tables.event.c
    rows = select(event.event_id, event.body).where(event.trace_id == trace_id).order_by(event.id)
    with trail.opened_engine() as engine, engine.connect() as connection:
        return {str(row.event_id): row.body for row in connection.execute(rows)}


def _missing(what: str, rows: list[str], found: list[str]) -> str:
    lacking, unknown = sorted({*rows} - {*found}), sorted({*found} - {*rows})
    if rows == found:
        return f"each row has one {what}"
    return f"rows without a {what}: {lacking}; {what}s without a row: {unknown}; all: {found}"


@contextmanager
def collecting(directory: Path, *, binary: Path | None = None) -> Iterator[CollectedTelemetry]:
    """Collect the spans of this process and audit records, with a collector if there is one.

    Requires the extra `testing`.

    Args:
        directory: the directory of the files; empty.
        binary: the collector; by default `OTELCOL_BIN`, or `otelcol` on PATH. Without one, this
            process writes spans and records to files of the same form.

    Raises:
        AuditConfigError: the collector does not start.
    """
    found = binary or find_collector()
    if found is None:
        export_spans(FileSpans(directory / "telemetry" / "traces.jsonl"))
        yield CollectedTelemetry(directory, lambda: FileSink(directory))
        return
    with running_process(found, directory) as ports:
        base = "http://127.0.0.1:{}"
        endpoint, audit = base.format(ports["otlp"]), base.format(ports["audit"]) + "/v1/audit"
        export_spans(CollectorSpans(endpoint))
        yield CollectedTelemetry(directory, lambda: OtlpSink(audit), endpoint)
