"""Log events: committed rows announced through the Logs API, beside or instead of span events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from sqlalchemy import MetaData, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from auditspan import Actor, AuditConfigError, AuditTrail, audit_context
from auditspan.telemetry import EventSignal
from auditspan.telemetry.scope import SCHEMA_URL, SCOPE_VERSION
from auditspan.telemetry.span_events import MAX_SPAN_EVENTS

POINTER = {
    "audit.action": "book.create",
    "audit.outcome": "success",
    "audit.target.type": "book",
    "audit.target.id": "1",
    "audit.actor.type": "user",
    "audit.actor.id": "7",
}


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryLogRecordExporter]:
    """The log records that the program emits through the Logs API."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(
        "auditspan.telemetry.log_events._logs.get_logger",
        lambda name, version, schema_url: provider.get_logger(name, version, schema_url=schema_url),
    )
    yield exporter
    provider.shutdown()


def commit_books(folder: Path, signal: EventSignal, count: int = 1) -> ReadableSpan:
    """Commit so many rows under a trail that announces them so, on the span that is returned."""

    class Base(DeclarativeBase):
        metadata = MetaData()

    class Book(Base):
        __tablename__ = "book"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    engine = create_engine(f"sqlite:///{folder}/books.db")
    sessions: sessionmaker[Session] = sessionmaker(engine)
    AuditTrail(sessions, metadata=Base.metadata, mac_key=None, events=signal)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    Base.metadata.create_all(engine)
    with (
        tracer.start_as_current_span("request") as span,
        audit_context(actor=Actor.user(7, label="kim")),
        sessions.begin() as session,
    ):
        session.add_all([Book(id=number + 1) for number in range(count)])
    engine.dispose()
    assert isinstance(span, ReadableSpan)
    return span


def pointers(records: tuple[ReadableLogRecord, ...]) -> list[tuple[str | None, dict[str, object]]]:
    """The name and the attributes of each event, without its id."""
    return [
        (
            one.log_record.event_name,
            {k: v for k, v in (one.log_record.attributes or {}).items() if k != "audit.record.id"},
        )
        for one in records
    ]


@pytest.mark.parametrize(
    ("signal", "on_span", "logged"), [("span", 1, 0), ("log", 0, 1), ("both", 1, 1)]
)
def test_events_are_emitted_as_chosen(
    tmp_path: Path,
    exported: InMemoryLogRecordExporter,
    signal: EventSignal,
    on_span: int,
    logged: int,
) -> None:
    """A committed row is announced on the span, as a log event, or as both."""
    span = commit_books(tmp_path, signal)
    assert (on_span, logged) == (len(span.events), len(exported.get_finished_logs()))


def test_a_log_event_points_to_the_row(tmp_path: Path, exported: InMemoryLogRecordExporter) -> None:
    """It has the attributes of a span event, the ids of the span, no body, and a named scope."""
    span = commit_books(tmp_path, "log")
    found = exported.get_finished_logs()
    assert [("audit.book.create", POINTER)] == pointers(found)
    [event] = found
    context = span.get_span_context()
    assert context is not None
    assert (context.trace_id, context.span_id) == (
        event.log_record.trace_id,
        event.log_record.span_id,
    )
    assert event.log_record.body is None
    scope = event.instrumentation_scope
    assert scope is not None
    assert ("auditspan", SCOPE_VERSION, SCHEMA_URL) == (
        scope.name,
        scope.version,
        scope.schema_url,
    )


def test_log_events_of_a_large_transaction_end_with_the_number_of_the_others(
    tmp_path: Path, exported: InMemoryLogRecordExporter
) -> None:
    """As on a span, the first hundred are emitted, and then the number of those left out."""
    commit_books(tmp_path, "log", MAX_SPAN_EVENTS + 3)
    found = exported.get_finished_logs()
    assert MAX_SPAN_EVENTS + 1 == len(found)
    assert [("audit.truncated", {"audit.truncated.count": 3})] == pointers(found[-1:])


def test_an_unknown_signal_is_refused(tmp_path: Path) -> None:
    """A typing error is found when the trail is made, not when the first row is committed."""
    with pytest.raises(AuditConfigError, match="expected one of span, log, both"):
        commit_books(tmp_path, "logs")  # type: ignore[arg-type]
