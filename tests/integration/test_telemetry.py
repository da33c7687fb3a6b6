"""One request, seen from outside: its spans, its log records, its headers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import flask
import pytest
import sqlalchemy as sa
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from auditspan.errors import AuditConfigError
from auditspan.telemetry.otlp.files import LogEntry, SpanRecord, read_logs, read_spans
from auditspan.telemetry.trace_boundary import parse_networks
from auditspan_service.telemetry.exporters import Exporters
from auditspan_service.telemetry.instrumentation import (
    instrument_engine,
    instrument_flask,
    uninstrument_flask,
)
from auditspan_service.telemetry.logs import setup_logging, teardown_logging
from auditspan_service.telemetry.providers import Telemetry, TelemetryConfig, setup_telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

SECRET = "s3cret-4711"
TRACE_ID = "1" * 32
SPAN_ID = "2" * 16

metadata = sa.MetaData()
users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, unique=True),
)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A small application with everything attached, and the files that it writes."""

    app: flask.Flask
    client: FlaskClient
    engine: sa.Engine
    telemetry: Telemetry
    files: Path

    def spans(self) -> list[SpanRecord]:
        """Every span that has reached the file, in the order of their start."""
        assert self.telemetry.force_flush()
        return sorted(read_spans(self.files), key=lambda span: span.start)

    def server_span(self) -> SpanRecord:
        """The only server span."""
        (span,) = (span for span in self.spans() if span.kind == "SERVER")
        return span

    def logs(self) -> list[LogEntry]:
        """Every log record that has reached the file."""
        assert self.telemetry.force_flush()
        return list(read_logs(self.files))

    def written(self) -> str:
        """Everything that was exported, all signals."""
        assert self.telemetry.force_flush()
        files = (self.files / "telemetry").iterdir()
        return "".join(file.read_text(encoding="utf-8") for file in files)


def build_app(engine: sa.Engine) -> flask.Flask:
    """An application that writes, reads, fails and misses."""
    app = flask.Flask("tiny")

    @app.post("/users/<name>")
    def add(name: str) -> dict[str, Any]:
        logging.getLogger("tiny.users").info("adding a user")
        with engine.begin() as connection:
            connection.execute(users.insert(), {"name": name})
        return {}

    @app.get("/boom")
    def boom() -> dict[str, Any]:
        raise RuntimeError(SECRET)

    @app.get("/healthz")
    def healthz() -> dict[str, Any]:
        return {}

    return app


def service_in(directory: Path, *, trusted: str = "") -> Iterator[Service]:
    """The application with a real SQLite database and the file sink, below `directory`."""
    config = TelemetryConfig(sink="file", files=directory, install_global=False)
    telemetry = setup_telemetry(config)
    setup_logging(logger_provider=telemetry.logger_provider)
    engine = sa.create_engine(f"sqlite:///{directory}/app.db", hide_parameters=True)
    metadata.create_all(engine)
    instrument_engine(engine, telemetry)
    app = build_app(engine)
    instrument_flask(app, telemetry, trusted=parse_networks(trusted))
    yield Service(
        app=app,
        client=app.test_client(),
        engine=engine,
        telemetry=telemetry,
        files=directory,
    )
    uninstrument_flask(app)
    engine.dispose()
    teardown_logging()
    telemetry.shutdown()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The application that trusts nobody's trace headers."""
    yield from service_in(tmp_path)


@pytest.fixture
def trusting_service(tmp_path: Path) -> Iterator[Service]:
    """The application behind a trusted proxy on this machine."""
    yield from service_in(tmp_path, trusted="127.0.0.1")


def trace_response(response: TestResponse) -> tuple[str, str]:
    """The trace id and the span id that a response names."""
    _, trace_id, span_id, _ = response.headers["traceresponse"].split("-")
    return trace_id, span_id


def test_one_write_is_one_trace(service: Service) -> None:
    """A request that writes has a server span with its INSERT and COMMIT, and its log record."""
    service.client.post("/users/kim")

    server, insert, commit = service.spans()
    assert [
        ("POST /users/<name>", "SERVER", None),
        ("INSERT app.db", "CLIENT", server.span_id),
        ("COMMIT", "CLIENT", server.span_id),
    ] == [(span.name, span.kind, span.parent_span_id) for span in (server, insert, commit)]
    assert {server.trace_id} == {insert.trace_id, commit.trace_id}
    assert server.start <= insert.start <= insert.end <= commit.start <= commit.end <= server.end
    (log,) = service.logs()
    assert ("adding a user", "INFO", server.trace_id, server.span_id) == (
        log.body,
        log.severity_text,
        log.trace_id,
        log.span_id,
    )


def test_stable_semantic_conventions(service: Service) -> None:
    """Attributes have the names of the stable conventions; a statement has no parameters."""
    service.client.post("/users/kim?page=2", headers={"User-Agent": "test/1"})

    server, insert, commit = service.spans()
    assert server.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/users/kim",
        "server.address": "localhost",
        "server.port": 80,
        "network.protocol.version": "1.1",
        "http.route": "/users/<name>",
        "http.response.status_code": 200,
    }
    database = {"db.system.name": "sqlite", "db.namespace": f"{service.files}/app.db"}
    assert insert.attributes == {
        **database,
        "db.operation.name": "INSERT",
        "db.query.text": "INSERT INTO users (name) VALUES (?)",
    }
    assert commit.attributes == {**database, "db.operation.name": "COMMIT"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/users/kim", 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/users/kim", 405),
        ("GET", "/boom", 500),
        ("OPTIONS", "/boom", 200),
    ],
)
def test_every_response_names_its_trace(
    service: Service, method: str, path: str, status: int
) -> None:
    """`traceresponse` is on every response, good or bad, and is the server span's."""
    response = service.client.open(path, method=method)

    span = service.server_span()
    assert status == response.status_code == span.attributes["http.response.status_code"]
    assert (span.trace_id, span.span_id) == trace_response(response)


def test_unknown_paths_share_one_span_name(service: Service) -> None:
    """A path without a route is not the name of a span: anyone could make up names without end."""
    service.client.get("/made/up")

    assert service.server_span().name == "GET"


def test_probes_have_no_trace(service: Service) -> None:
    """A health probe makes no span; a word in a URL does not make a request a probe."""
    assert "traceresponse" not in service.client.get("/healthz").headers
    for path in ("/users/healthz", "/users/a?/healthz", "/users/b?x=http://h/healthz", "/healthzz"):
        service.client.post(path)
    service.client.post("/users/c", headers={"Host": "h/healthz"})

    assert [span.attributes["url.path"] for span in service.spans() if span.kind == "SERVER"] == [
        "/users/healthz",
        "/users/a",
        "/users/b",
        "/healthzz",
        "/users/c",
    ]


def test_untrusted_client_cannot_switch_the_span_off(service: Service) -> None:
    """An untrusted `traceparent …-00` neither stops nor adopts our trace; it becomes a link."""
    service.client.post("/users/kim", headers={"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"})

    span = service.server_span()
    assert span.parent_span_id is None
    assert span.trace_id != TRACE_ID
    assert [(link.trace_id, link.span_id) for link in span.links] == [(TRACE_ID, SPAN_ID)]


def test_trusted_proxy_keeps_its_trace(trusting_service: Service) -> None:
    """A trusted peer's span is the parent of ours, without a link."""
    traceparent = f"00-{TRACE_ID}-{SPAN_ID}-01"
    response = trusting_service.client.post("/users/kim", headers={"traceparent": traceparent})

    span = trusting_service.server_span()
    assert (span.trace_id, span.parent_span_id, span.links) == (TRACE_ID, SPAN_ID, ())
    assert (TRACE_ID, span.span_id) == trace_response(response)


def test_trusted_proxy_may_switch_the_span_off(trusting_service: Service) -> None:
    """A trusted `…-00` is obeyed; log records do not depend on it and keep the trace id."""
    traceparent = f"00-{TRACE_ID}-{SPAN_ID}-00"
    trusting_service.client.post("/users/kim", headers={"traceparent": traceparent})

    assert trusting_service.spans() == []
    assert [log.trace_id for log in trusting_service.logs()] == [TRACE_ID]


def test_unhandled_exception_is_an_error_log_with_its_stack(service: Service) -> None:
    """A failing request leaves an ERROR record with the stack trace, under its own trace id."""
    response = service.client.get("/boom")

    span = service.server_span()
    (log,) = service.logs()
    assert SECRET not in response.text
    assert ("ERROR", "RuntimeError", SECRET, span.trace_id, span.span_id) == (
        log.severity_text,
        log.attributes["exception.type"],
        log.attributes["exception.message"],
        log.trace_id,
        log.span_id,
    )
    assert "in boom" in str(log.attributes["exception.stacktrace"])


def test_span_shows_the_type_of_an_exception_only(service: Service) -> None:
    """The span of a failing request says which exception it was, and none of its words."""
    service.client.get("/boom")

    span = service.server_span()
    (event,) = span.events
    assert (span.status, event.attributes["exception.type"]) == ("ERROR", "RuntimeError")
    assert SECRET not in repr(span)


def test_no_parameter_values_anywhere(service: Service) -> None:
    """A failing INSERT tells neither the spans nor the log what it wanted to insert."""
    with service.engine.begin() as connection:
        connection.execute(users.insert(), {"name": SECRET})
    service.app.add_url_rule("/again", view_func=lambda: insert_secret(service.engine))

    assert service.client.get("/again").status_code == 500
    assert "UNIQUE constraint failed: users.name" in service.written()
    assert SECRET not in service.written()


def insert_secret(engine: sa.Engine) -> dict[str, Any]:
    """A view that violates the unique constraint."""
    with engine.begin() as connection:
        connection.execute(users.insert(), {"name": SECRET})
    return {}


def test_no_query_string_and_no_secret_header_anywhere(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the query string nor a credential is exported, even with header capture turned on."""
    for name in ("SERVER_REQUEST", "SERVER_RESPONSE"):
        monkeypatch.setenv(f"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_{name}", ".*")
    headers = {
        "Authorization": f"Bearer {SECRET}",
        "Cookie": SECRET,
        "X-Api-Key": SECRET,
        "X-Shown": "yes",
    }
    service.client.post(f"/users/kim?token={SECRET}", headers=headers)

    written = service.written()
    assert "http.request.header.x" in written
    assert SECRET not in written


def in_memory_telemetry() -> Telemetry:
    """Telemetry that keeps its spans in memory."""
    exporters = Exporters(spans=InMemorySpanExporter())
    return setup_telemetry(TelemetryConfig(install_global=False), exporters)


def test_span_surrounds_whatever_was_registered_earlier() -> None:
    """Functions registered before the instrumentation still run inside the server span."""
    telemetry = in_memory_telemetry()
    app = flask.Flask("early")
    inside: list[bool] = []

    def look(_: object = None) -> None:
        inside.append(trace.get_current_span().is_recording())

    app.before_request(look)
    app.teardown_request(look)
    instrument_flask(app, telemetry)
    app.before_request(look)

    app.test_client().get("/")

    telemetry.shutdown()
    assert inside == [True] * 3
    assert not trace.get_current_span().is_recording()


def test_instruments_an_application_once() -> None:
    """Instrumenting twice is refused; undone, the application is as it was."""
    telemetry = in_memory_telemetry()
    app = flask.Flask("twice")
    instrument_flask(app, telemetry)
    with pytest.raises(AuditConfigError):
        instrument_flask(app, telemetry)

    uninstrument_flask(app)

    telemetry.shutdown()
    assert "traceresponse" not in app.test_client().get("/").headers
    assert app.extensions == {}
