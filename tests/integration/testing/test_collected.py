"""The fixtures that collect telemetry, in a Flask application's own tests, run in parallel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.collector import collector_binary

CONFTEST = """
import pytest
from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from auditspan import Actor, AuditTrail
from auditspan.flask import AuditExtension

pytest_plugins = ["auditspan.testing"]

class Base(DeclarativeBase): ...

class Order(Base):
    __tablename__ = "order"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)

@pytest.fixture
def sessions(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    yield sessionmaker(engine)
    engine.dispose()

@pytest.fixture
def audit_trail(sessions):
    trail = AuditTrail(sessions, metadata=Base.metadata, mac_key=None)
    Base.metadata.create_all(sessions.kw["bind"])
    return trail

@pytest.fixture
def client(sessions, audit_trail):
    app = Flask(__name__)
    FlaskInstrumentor().instrument_app(app)
    AuditExtension(audit_trail, actor=lambda: Actor.user(7)).init_app(app)

    @app.post("/orders")
    def add():
        with sessions.begin() as session:
            session.add(Order())
        return {}, 201

    return app.test_client()
"""
TESTS = """
import pytest

@pytest.mark.parametrize("turn", range(4))
def test_request_leaves_a_row_and_telemetry(turn, client, audit_trail, audit_telemetry):
    with audit_telemetry.trace() as trace_id:
        assert 201 == client.post("/orders").status_code
    [event] = audit_telemetry.assert_announced(audit_trail, trace_id)
    [record] = audit_telemetry.audit_records(trace_id)
    spans = {span.name: span for span in audit_telemetry.spans(trace_id)}
    request = spans["POST /orders"]
    assert (event["span_id"], "audit.order.create") == (request.span_id, record.event_name)
    assert request.events == tuple(audit_telemetry.span_events(trace_id))

def test_missing_telemetry_is_named(client, audit_trail, audit_telemetry, monkeypatch):
    with audit_telemetry.trace() as empty:
        pass
    with pytest.raises(AssertionError, match=f"no event of the trace {empty}"):
        audit_telemetry.assert_announced(audit_trail, empty)
    with audit_telemetry.trace() as trace_id:
        client.post("/orders")
    [event] = audit_telemetry.assert_announced(audit_trail, trace_id)
    monkeypatch.setattr(audit_telemetry, "span_events", lambda _: [])
    said = rf"rows without a span event: \\['{event['event_id']}'\\].*each row has one log record"
    with pytest.raises(AssertionError, match=said):
        audit_telemetry.assert_announced(audit_trail, trace_id)
    monkeypatch.setattr("auditspan.testing.collected._PATIENCE", 0.1)
    with pytest.raises(AssertionError, match=r"expected 2 .*, found \\['audit.order.create'\\]"):
        audit_telemetry.audit_records(trace_id, count=2)

def test_given_collector_is_used(audit_collector):
    assert HAS_COLLECTOR == bool(audit_collector.endpoint)
"""


@pytest.mark.parametrize("has_collector", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_fixtures_collect_in_parallel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_collector: bool
) -> None:
    """Two processes have a collector each, or write its files themselves; failures are named."""
    monkeypatch.setenv("OTELCOL_BIN", str(collector_binary()) if has_collector else "")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_shop.py").write_text(f"HAS_COLLECTOR = {has_collector}\n{TESTS}")
    command = [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "6 passed" in done.stdout, done.stdout + done.stderr


def test_collector_that_does_not_start_is_reported(tmp_path: Path) -> None:
    """The message has the end of its log."""
    program = (
        "import pathlib, sys\n"
        "from auditspan.testing.collector_process import running_process\n"
        "binary = pathlib.Path('otelcol')\n"
        "binary.write_text('#!/bin/sh\\necho no such config >&2\\nexit 1\\n')\n"
        "binary.chmod(0o755)\n"
        "with running_process(binary.absolute(), pathlib.Path.cwd()): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "did not start: no such config" in done.stderr
