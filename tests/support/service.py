"""The service in this process, on a real database, with its spans in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import select
from werkzeug.test import TestResponse

from auditspan import Actor, audit_context
from auditspan.storage import EventFilter, find_events
from auditspan.storage.keys import load_or_create_erasure_keys, load_or_create_mac_key
from auditspan_service.accounts.api_keys import IssuedKey, create_key
from auditspan_service.api.auth import write_key_uses
from auditspan_service.api.current import EXTENSION
from auditspan_service.app import create_app
from auditspan_service.config import Settings, load_settings
from auditspan_service.models import Base
from auditspan_service.services import Services
from auditspan_service.telemetry.exporters import Exporters
from auditspan_service.telemetry.providers import TelemetryConfig, setup_telemetry
from support.patience import PATIENCE

PROBLEM = "application/problem+json"
_MEMBERS = {"type", "title", "status", "detail", "trace_id"}


@dataclass(frozen=True, kw_only=True)
class RunningService:
    """An application with what it works on."""

    app: Flask
    services: Services
    exporter: InMemorySpanExporter

    def issue(self, *scopes: str, username: str = "tester") -> IssuedKey:
        """A new key; the user is made when missing."""
        with audit_context(actor=Actor.system("test")), self.services.database.writing() as session:
            return create_key(session, username, scopes)

    def caller(self, *scopes: str, username: str = "tester") -> Caller:
        """Return a client with a new key for these scopes."""
        issued = self.issue(*(scopes or ("admin",)), username=username)
        return Caller(app=self.app, key=issued.text, user_id=issued.key.user_id)

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table but the last uses of keys, which are written at intervals."""
        with self.services.database.reading() as session:
            return {
                table.name: [tuple(row) for row in session.execute(select(table))]
                for table in Base.metadata.sorted_tables
                if table.name != "api_key_uses"
            }

    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of the trail with their erasable values, oldest first."""
        with self.services.database.reading() as session:
            tables = self.services.trail.tables
            found = find_events(session.connection(), tables, EventFilter(), after=0, limit=100_000)
            return [event.members() for event in found]

    def forget_spans(self) -> None:
        """Begin anew with the spans."""
        self.spans()
        self.exporter.clear()

    def spans(self) -> Sequence[ReadableSpan]:
        """Every span so far."""
        assert self.services.telemetry.force_flush(PATIENCE)
        return self.exporter.get_finished_spans()


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A client of the API with a key."""

    app: Flask
    key: str = field(repr=False)
    user_id: int

    def __call__(self, method: str, path: str, **given: Any) -> TestResponse:
        """Send one request with the key."""
        headers = {"Authorization": f"Bearer {self.key}", **given.pop("headers", {})}
        return self.app.test_client().open(path, method=method, headers=headers, **given)

    def create(self, **members: Any) -> dict[str, Any]:
        """A new user."""
        response = self("POST", "/v1/users", json=members)
        assert response.status_code == 201, response.text
        user: dict[str, Any] = response.get_json()
        return user

    def events(self, **filters: str) -> list[dict[str, Any]]:
        """The first page of the events that fit."""
        response = self("GET", "/v1/audit-events", query_string=filters)
        assert response.status_code == 200, response.text
        items: list[dict[str, Any]] = response.get_json()["items"]
        return items


@contextmanager
def running_service(settings: Settings) -> Iterator[RunningService]:
    """The service on a database that has the schema."""
    exporter = InMemorySpanExporter()
    telemetry = setup_telemetry(TelemetryConfig(install_global=False), Exporters(spans=exporter))
    app = create_app(settings, telemetry)
    services: Services = app.extensions[EXTENSION]
    try:
        yield RunningService(app=app, services=services, exporter=exporter)
    finally:
        write_key_uses(app)  # otherwise a timer would, in the middle of another test
        services.database.dispose()
        telemetry.shutdown()


def settings_at(directory: Path, database_url: str, **given: Any) -> Settings:
    """Settings whose files lie in this directory, and whose MAC and erasure keys are there.

    No key is remembered, so that a test need not wait until a revoked one is refused.
    """
    given = {"key_cache_seconds": 0, **given}
    settings = load_settings(data_dir=directory, database_url=database_url, **given)
    load_or_create_mac_key(settings.mac_key_file, create=True)
    load_or_create_erasure_keys(settings.erasure_key_file, create=True)
    return settings


def problem(response: TestResponse) -> dict[str, Any]:
    """The problem document of a response, which is one in every respect."""
    assert response.content_type == PROBLEM, (response.status, response.text)
    document: dict[str, Any] = json.loads(response.data)
    assert set(document) - {"errors"} == _MEMBERS
    assert document["status"] == response.status_code
    _, trace_id, *_ = response.headers.get("traceresponse", "-").split("-")
    assert document["trace_id"] == (trace_id or None)  # probes have no trace
    assert document["title"]
    assert document["detail"]
    return document
