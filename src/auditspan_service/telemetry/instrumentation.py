"""Instrumentation of the service's Flask application and database engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import flask
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.instrumentation.propagators import (
    TraceResponsePropagator,
    set_global_response_propagator,
)
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.instrumentation.sqlalchemy.version import __version__ as sqlalchemy_version
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.util.http import sanitize_method

from auditspan.errors import AuditConfigError
from auditspan.telemetry import Network, TraceBoundary, link_remote_span
from auditspan.telemetry.scope import SCHEMA_URL, SCOPE_VERSION
from auditspan_service.telemetry.connection_count import connection_count
from auditspan_service.telemetry.transaction_spans import instrument_transactions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from wsgiref.types import WSGIEnvironment

    from sqlalchemy.engine import Engine

    from auditspan_service.telemetry.providers import Telemetry

EXTENSION = "auditspan.telemetry"
"""The key of the application's `Telemetry` in `app.extensions`."""

_Function = TypeVar("_Function")

PROBES = ("healthz", "readyz")

_SCOPE = "auditspan_service"
_SQLALCHEMY = "opentelemetry.instrumentation.sqlalchemy"

# The instrumentation matches this against the whole URL with `search`: with a bare word, any client
# could suppress its spans by appending ?healthz to a URL.
_UNTRACED = rf"^https?://[^/?#]+/(?:{'|'.join(map(re.escape, PROBES))})$"


def undo_automatic_instrumentation() -> None:
    """Undo the instrumentation of Flask, SQLAlchemy and logging by `opentelemetry-instrument`.

    The service instruments these itself. Otherwise every statement and log record would be exported
    twice, and one copy of each log record would quote exceptions that `logs` redacts.

    Names that were imported before keep the instrumented objects, so the service imports `Flask`
    and `create_engine` from the modules that define them, where nothing is replaced.
    """
    for instrumentor in (FlaskInstrumentor(), SQLAlchemyInstrumentor(), LoggingInstrumentor()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


def instrument_flask(
    app: flask.Flask, telemetry: Telemetry, *, trusted: Sequence[Network] = ()
) -> None:
    """Create a server span and `traceresponse` for every request of `app` except the probes.

    The span starts before the first `before_request` function and ends after the last
    `teardown_request` function, in any order of registration. Trace headers of peers outside
    `trusted` are not trusted, see `TraceBoundary`. MUST be called after any other `wsgi_app`
    middleware.

    Raises:
        AuditConfigError: `app` is already instrumented.
    """
    if EXTENSION in app.extensions:
        raise AuditConfigError("This application is already instrumented: instrument it only once.")
    app.extensions[EXTENSION] = telemetry
    set_global_response_propagator(TraceResponsePropagator())
    _require_context()
    FlaskInstrumentor.instrument_app(
        app,
        request_hook=_on_request,
        tracer_provider=telemetry.tracer_provider,
        meter_provider=telemetry.meter_provider,
        excluded_urls=_UNTRACED,
        enable_commenter=False,
    )
    _move_last_to_front(app.before_request_funcs[None])
    _move_last_to_front(app.teardown_request_funcs[None])  # these run in reverse
    app.wsgi_app = TraceBoundary(app.wsgi_app, trusted=trusted)  # type: ignore[method-assign]


def uninstrument_flask(app: flask.Flask) -> None:
    """Undo `instrument_flask`, and remove all `wsgi_app` middleware added since."""
    app.extensions.pop(EXTENSION)
    FlaskInstrumentor.uninstrument_app(app)


def instrument_engine(engine: Engine, telemetry: Telemetry) -> None:
    """Create a span for every statement, COMMIT and ROLLBACK of `engine`, unless already done.

    The durations of COMMIT and ROLLBACK are also measured.

    Spans contain statements with placeholders, never parameters. The instrumentation's class for
    one engine is used instead of `SQLAlchemyInstrumentor`, which replaces `create_engine` and
    `Engine.connect` for the whole process, once, and does not accept a second engine.
    """
    tracer = telemetry.tracer_provider.get_tracer(_SCOPE, SCOPE_VERSION, SCHEMA_URL)
    ours = telemetry.meter_provider.get_meter(_SCOPE, SCOPE_VERSION, SCHEMA_URL)
    if not instrument_transactions(engine, tracer, ours):
        return
    scope = (_SQLALCHEMY, sqlalchemy_version, SCHEMA_URL)
    meter = telemetry.meter_provider.get_meter(*scope)
    statements = telemetry.tracer_provider.get_tracer(*scope)
    EngineTracer(statements, engine, connection_count(telemetry.meter_provider, meter))


class _NoPropagation(TextMapPropagator):
    """A propagator that reads and writes no header."""

    def extract(
        self,
        carrier: CarrierT,  # noqa: ARG002 (the interface)
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,  # noqa: ARG002 (the interface)
    ) -> Context:
        """Return the given context, or an empty one."""
        return Context() if context is None else context

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Write nothing."""

    @property
    def fields(self) -> set[str]:
        """The headers that it writes, which are none."""
        return set()


def _require_context() -> None:
    """Replace a global propagator that extracts None, such as that of OTEL_PROPAGATORS=none.

    The instrumentation would set None as the current context, and every request would fail.
    """
    extracted: Context | None = propagate.get_global_textmap().extract({})
    if extracted is None:
        propagate.set_global_textmap(_NoPropagation())


def _move_last_to_front(functions: list[_Function]) -> None:
    functions.insert(0, functions.pop())


def _on_request(span: trace.Span, environ: WSGIEnvironment) -> None:
    link_remote_span(environ, span)
    if flask.request.url_rule is None:
        # The instrumentation uses the path as the name, and clients can invent endless paths.
        method = sanitize_method(flask.request.method)
        span.update_name("HTTP" if method == "_OTHER" else method)
