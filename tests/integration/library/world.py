"""An application under a trail, and what can be seen of it from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import Event, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer
from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.orm import Session, sessionmaker

from auditspan import Actor, AuditTrail, MacKey, audit_context
from integration.library.models import KINDS, Base
from integration.library.shapes import SHAPES
from support.replay import assert_replays

KEY = MacKey.from_secret(bytes(range(32)))
KIM = Actor.user(7, label="kim")


@dataclass
class World:
    """A session factory under a trail, and the spans of its caller.

    Attributes:
        counts_span_events: whether the oracle expects one span event for every row.
    """

    engine: Engine
    trail: AuditTrail
    sessions: sessionmaker[Session]
    tracer: Tracer
    exporter: InMemorySpanExporter
    counts_span_events: bool = True
    kinds: Mapping[str, Any] = field(default_factory=lambda: KINDS | SHAPES)

    @contextmanager
    def unit_of_work(self) -> Iterator[Session]:
        """A request: an actor, a span and a transaction."""
        with self.request(), self.sessions.begin() as session:
            yield session

    @contextmanager
    def request(self) -> Iterator[None]:
        """An actor and a span."""
        with audit_context(actor=KIM), self.tracer.start_as_current_span("request"):
            yield

    def bodies(self, after: int = 0) -> list[str]:
        """The committed bodies in id order, as another connection sees them."""
        table = self.trail.tables.event
        query = select(table.c.body).where(table.c.id > after).order_by(table.c.id)
        with self.engine.connect() as connection:
            return list(connection.scalars(query))

    def events(self) -> list[dict[str, Any]]:
        """The committed bodies, parsed."""
        return [json.loads(body) for body in self.bodies()]

    def rows(self) -> list[Any]:
        """The rows of `audit_event` in id order."""
        table = self.trail.tables.event
        with self.engine.connect() as connection:
            return list(connection.execute(select(table).order_by(table.c.id)))

    def last(self) -> dict[str, Any]:
        """The newest event."""
        return self.events()[-1]

    def actions(self) -> list[str]:
        """The actions of all events."""
        return [event["action"] for event in self.events()]

    def span_events(self) -> list[Event]:
        """The audit events on all spans that have ended, in the order of their spans."""
        spans = self.exporter.get_finished_spans()
        return [one for span in spans for one in span.events if one.name.startswith("audit.")]

    def announced(self) -> list[Any]:
        """The record ids on all spans."""
        return [(one.attributes or {}).get("audit.record.id") for one in self.span_events()]

    def check(self) -> None:
        """The oracle: the trail replays to the live tables, and spans say what rows say."""
        bodies = self.bodies()
        with (
            self.engine.connect() as connection
        ):  # the only one: SQLite reads 200 triggers for each
            assert_replays(connection, bodies, self.kinds)
        ids = [json.loads(body)["event_id"] for body in bodies]
        assert len(ids) == len(set(ids))
        if self.counts_span_events:
            assert sorted(ids) == sorted(self.announced())


def sqlite_engine_at(path: Path) -> Engine:
    """SQLite as an application sets it: real transactions, savepoints and foreign keys."""
    engine = create_engine(f"sqlite:///{path}")

    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        # No test here loses power, and a slow disk is to slow none of them down.
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA busy_timeout=30000")
        connection.execute("PRAGMA foreign_keys=ON")

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
    return engine


def make_world(engine: Engine, **options: Any) -> World:
    """An application on this engine, which has its tables."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    sessions = sessionmaker(engine)
    options = {"mac_key": KEY, "sqlite_settings": False, **options}  # the engine has its own
    trail = AuditTrail(sessions, metadata=Base.metadata, **options)
    return World(
        engine=engine,
        trail=trail,
        sessions=sessions,
        tracer=provider.get_tracer("tests"),
        exporter=exporter,
    )
