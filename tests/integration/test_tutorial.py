"""The tutorial's application, before and after auditspan."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from auditspan.delivery.sinks import AUDIT_FILE, FileSink
from auditspan.delivery.worker import Worker
from auditspan.storage.event_filter import EventFilter
from auditspan.storage.events import find_events
from support.patience import PATIENCE

TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial"


def load(name: str) -> ModuleType:
    """A fresh copy of one of the two files, as `flask --app` would import it."""
    spec = importlib.util.spec_from_file_location(f"tutorial_{name}", TUTORIAL / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tutorial() -> ModuleType:
    return load("after")


@pytest.fixture
def app(tutorial: ModuleType, tmp_path: Path) -> Iterator[Flask]:
    app: Flask = tutorial.create_app(f"sqlite:///{tmp_path / 'tutorial.db'}")
    yield app
    with app.app_context():
        tutorial.db.session.remove()
        tutorial.db.engine.dispose()


@pytest.fixture
def spans(app: Flask) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    FlaskInstrumentor().instrument_app(app, tracer_provider=provider)
    yield exporter
    FlaskInstrumentor().uninstrument_app(app)


def recorded(tutorial: ModuleType, app: Flask) -> list[dict[str, Any]]:
    with app.app_context(), tutorial.db.engine.connect() as connection:
        events = find_events(connection, tutorial.trail.tables, EventFilter())
        return [event.resource() for event in events]


def audit_events(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events if event.name.startswith("audit.")]


def test_auditspan_is_added_in_at_most_ten_lines() -> None:
    """The two files differ by at most ten lines, each of them marked, and the docstring."""

    def code(name: str) -> list[str]:
        text = (TUTORIAL / f"{name}.py").read_text()
        return text.partition('"""\n\nfrom __future__')[2].splitlines()

    added = [line for line in code("after") if line.endswith("# +")]
    kept = [line for line in code("after") if not line.endswith("# +")]
    assert [line for line in code("before") if line] == [line for line in kept if line]
    assert len(added) <= 10


def test_a_new_user_has_a_row_and_a_span_event(
    app: Flask, tutorial: ModuleType, spans: InMemorySpanExporter
) -> None:
    """Adding a user leaves one row and one event on the request's span, with one trace id."""
    answer = app.test_client().post("/users", data={"username": "kim"})
    assert answer.status_code == 201
    [row] = recorded(tutorial, app)
    [span] = spans.get_finished_spans()
    assert span.context is not None
    assert row["action"] == "user.create"
    assert row["actor"] == {"type": "anonymous", "id": None, "label": None}
    assert row["trace_id"] == f"{span.context.trace_id:032x}"
    assert audit_events(span) == ["audit.user.create"]


def test_a_refused_user_leaves_nothing(
    app: Flask,
    tutorial: ModuleType,
    spans: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A duplicate is answered by the tutorial's error handler, is logged, and leaves no row."""
    client = app.test_client()
    with caplog.at_level(logging.INFO):
        assert client.post("/users", data={"username": "kim"}).status_code == 201
        assert client.post("/users", data={"username": "kim"}).status_code == 500
    assert len(recorded(tutorial, app)) == 1
    assert [audit_events(span) for span in spans.get_finished_spans()] == [
        ["audit.user.create"],
        [],
    ]
    levels = [r.levelname for r in caplog.records if r.name.startswith("tutorial_after")]
    assert levels == ["INFO", "ERROR"]


def test_a_worker_delivers_what_the_tutorial_wrote(
    app: Flask, tutorial: ModuleType, tmp_path: Path
) -> None:
    """A worker on the same database writes the log record of the new user."""
    app.test_client().post("/users", data={"username": "kim"})
    with app.app_context():
        worker = Worker(tutorial.db.engine, tutorial.trail.tables, FileSink(tmp_path))
    worker.start()
    try:
        assert worker.drain(PATIENCE)
    finally:
        worker.stop()
    [row] = recorded(tutorial, app)
    assert str(row["event_id"]) in (tmp_path / AUDIT_FILE).read_text()
    assert row["delivered"] is True
