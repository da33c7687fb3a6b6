"""Changes that were rolled back are nowhere: no row, no span event, no log record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from flask import Flask
from flask.typing import ResponseReturnValue
from sqlalchemy import text

from auditspan.storage.event_filter import EventFilter
from auditspan.storage.events import find_events
from auditspan.telemetry.otlp.files import SpanRecord, read_logs, read_spans
from auditspan_service.api.current import services
from auditspan_service.config import load_settings
from auditspan_service.models import User
from auditspan_service.server.stack import Stack
from support.patience import PATIENCE


def add_routes(app: Flask) -> None:
    """Requests that fail in ways that the service itself does not."""

    @app.post("/test/request")
    def request_fails() -> ResponseReturnValue:
        with services().database.writing() as session:
            session.add(User(username="request"))
            session.flush()
            raise RuntimeError("after the flush")

    @app.post("/test/savepoint")
    def savepoint_fails() -> ResponseReturnValue:
        with services().database.writing() as session:
            session.add(User(username="kept"))
            with session.begin_nested() as savepoint:
                session.add(User(username="savepoint"))
                session.flush()
                savepoint.rollback()
            with session.begin_nested():
                session.add(User(username="released"))
        return "", 204

    @app.post("/test/commit")
    def commit_fails() -> ResponseReturnValue:
        with services().database.writing() as session:
            session.add(User(username="commit"))
            session.flush()
            # A deferred constraint is checked by COMMIT itself.
            session.execute(text("INSERT INTO test_child (parent) VALUES (1)"))
        return "", 204


@pytest.fixture(params=["sqlite", "postgresql"])
def stack(request: pytest.FixtureRequest, tmp_path: Path, collector_bin: Path) -> Iterator[Stack]:
    given = {"data_dir": tmp_path / "data"}
    if request.param == "postgresql":
        given["database_url"] = request.getfixturevalue("postgres_url")
    settings = load_settings(**given)
    with Stack.start(settings, binary=collector_bin, extend=add_routes) as stack:
        with stack.services.database.engine.begin() as connection:
            connection.execute(text("CREATE TABLE test_parent (id INTEGER PRIMARY KEY)"))
            connection.execute(
                text(
                    "CREATE TABLE test_child (parent INTEGER REFERENCES test_parent (id) "
                    "DEFERRABLE INITIALLY DEFERRED)"
                )
            )
        yield stack


def post(stack: Stack, path: str) -> tuple[int, str]:
    """The status and the trace id of a request."""
    answer = urllib3.request("POST", stack.url + path, retries=False)
    return answer.status, answer.headers["traceresponse"].split("-")[1]


def arrived_spans(stack: Stack, trace_id: str) -> list[SpanRecord]:
    """The spans of a request; the collector writes their file through a buffer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        spans = list(read_spans(stack.settings.collector_files / "telemetry", trace_id=trace_id))
        if any(span.kind == "SERVER" for span in spans):
            return spans
        assert time.monotonic() < deadline, "the spans of the request have not arrived"
        time.sleep(0.25)


def left_behind(stack: Stack, trace_id: str) -> tuple[list[str], list[str], list[str]]:
    """The actions of a trace in the table, on its spans, and in the collector's file."""
    with stack.services.database.reading() as session:
        rows = find_events(
            session.connection(),
            stack.services.trail.tables,
            EventFilter(trace_id=trace_id),
            after=0,
        )
    spans = arrived_spans(stack, trace_id)
    logs = read_logs(stack.settings.collector_files / "audit", trace_id=trace_id)
    return (
        [str(row.resource()["changes"]["username"]["new"]) for row in rows],  # type: ignore[call-overload, index]
        [event.name for span in spans for event in span.events if event.name.startswith("audit.")],
        [str(log.event_name) for log in logs],
    )


def test_rolled_back_work_leaves_no_trace(stack: Stack) -> None:
    """A failing request, a rolled-back savepoint and a failing COMMIT leave nothing."""
    failed = post(stack, "/test/request")
    in_part = post(stack, "/test/savepoint")
    at_commit = post(stack, "/test/commit")
    assert [failed[0], in_part[0], at_commit[0]] == [500, 204, 500]
    assert stack.services.telemetry.force_flush(PATIENCE)
    assert stack.drain(PATIENCE)

    assert left_behind(stack, in_part[1]) == (
        ["kept", "released"],
        ["audit.user.create", "audit.user.create"],
        ["audit.user.create", "audit.user.create"],
    )
    assert left_behind(stack, failed[1]) == ([], [], [])
    assert left_behind(stack, at_commit[1]) == ([], [], [])
