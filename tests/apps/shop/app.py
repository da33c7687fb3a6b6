"""The application: a login by name, and forms that change customers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flask import Flask, abort, request, session
from flask.typing import ResponseReturnValue
from opentelemetry.exporter.otlp.json.file import FileSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from apps.shop.models import Base, Customer
from auditspan import Actor, AuditTrail, MacKey, Target
from auditspan.delivery import FileSink
from auditspan.delivery.worker import Worker
from auditspan.flask import AuditExtension
from auditspan.format import SECRET_BYTES
from auditspan.tlog import SigningKey

AUDITORS = ("ada", "bea")
SUPERVISOR = "ada"
"""The auditor who may also revert changes."""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The application and what it works on.

    Attributes:
        files: where its spans and audit records are written, as a collector would.
    """

    app: Flask
    engine: Engine
    sessions: sessionmaker[Session]
    trail: AuditTrail
    files: Path
    mac_key: MacKey
    signing_key: SigningKey

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """A worker that seals and delivers."""
        worker = Worker(
            self.engine,
            self.trail.tables,
            FileSink(self.files),
            interval=0.05,
            signing_key=self.signing_key,
            mac_key=self.mac_key,
        )
        worker.start()
        try:
            yield worker
        finally:
            worker.stop()


def make_shop(engine: Engine, files: Path) -> Shop:
    """The shop on this database; its tables are made."""
    sessions = sessionmaker(engine)
    key = MacKey.from_secret(secrets.token_bytes(SECRET_BYTES))
    trail = AuditTrail(sessions, metadata=Base.metadata, mac_key=key)
    Base.metadata.create_all(engine)
    signer = SigningKey(name="auditspan/shop", seed=secrets.token_bytes(32))
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secrets.token_hex(),
        AUDITSPAN_COLLECTOR_FILES=str(files),
        AUDITSPAN_PUBLIC_KEYS=[signer.public.vkey],
    )
    tracing = _tracing(files)
    _add_views(app, sessions, trail, tracing.get_tracer("shop"))
    AuditExtension(
        trail, actor=_actor, viewer="/audit", can_view=_is_auditor, can_revert=_is_supervisor
    ).init_app(app)
    FlaskInstrumentor().instrument_app(app, tracer_provider=tracing)
    return Shop(
        app=app,
        engine=engine,
        sessions=sessions,
        trail=trail,
        files=files,
        mac_key=key,
        signing_key=signer,
    )


def _tracing(files: Path) -> TracerProvider:
    (files / "telemetry").mkdir(parents=True, exist_ok=True)
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    exporter = FileSpanExporter(files / "telemetry" / "traces.jsonl")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def _actor() -> Actor:
    name = session.get("name")
    return Actor.user(name, label=name.title()) if name else Actor.anonymous()


def _is_auditor() -> bool:
    return session.get("name") in AUDITORS


def _is_supervisor() -> bool:
    return session.get("name") == SUPERVISOR


def _send_mail(tracer: Tracer, address: str | None) -> None:
    """Tell a customer; the mail server never answers."""
    with tracer.start_as_current_span("send e-mail", kind=SpanKind.CLIENT) as span:
        span.set_attribute("server.address", "mail.example.org")
        span.add_event("queued", {"has.address": address is not None})
        span.set_status(Status(StatusCode.ERROR, "mail.example.org does not answer"))


def _add_views(
    app: Flask, sessions: sessionmaker[Session], trail: AuditTrail, tracer: Tracer
) -> None:
    @app.post("/login")
    def login() -> ResponseReturnValue:
        session["name"] = request.form["name"]
        return "", 204

    @app.post("/customers")
    def add() -> ResponseReturnValue:
        with sessions.begin() as database:
            customer = Customer(**request.form)
            database.add(customer)
            database.flush()
            return {"id": customer.id}, 201

    @app.post("/customers/<int:key>")
    def change(key: int) -> ResponseReturnValue:
        with sessions.begin() as database:
            customer = database.get_one(Customer, key)
            for name, value in request.form.items():
                setattr(customer, name, value)
        _send_mail(tracer, request.form.get("email"))
        return "", 204

    @app.post("/customers/<int:key>/delete")
    def delete(key: int) -> ResponseReturnValue:
        if session.get("name") != "kim":
            target = Target(type="customer", id=str(key))
            trail.record_durable("customer.denied", target=target, outcome="failure")
            abort(403)
        with sessions.begin() as database:
            database.delete(database.get_one(Customer, key))
        return "", 204
