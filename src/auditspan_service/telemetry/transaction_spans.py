"""Spans that the SQLAlchemy instrumentation lacks: COMMIT, ROLLBACK, and causes of failures.

The instrumentation observes cursors. COMMIT and ROLLBACK use the driver's connection, so they are
intercepted in the dialect's `do_commit` and `do_rollback`. Savepoints are ordinary statements to
SQLAlchemy, and already have spans.

Every COMMIT and ROLLBACK is measured in the histogram `db.client.operation.duration`. A span is
created only

- for the end of a transaction, which SQLAlchemy announces by an event just before. The pool also
  rolls back every connection that is returned to it, mostly with nothing to undo: that would add a
  ROLLBACK after every COMMIT;
- below a recording span. Outside of requests (the worker, a probe) each COMMIT would be a trace of
  a single span, without a hint at what was committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.semconv.attributes import db_attributes, error_attributes, server_attributes
from opentelemetry.semconv.metrics.db_metrics import DB_CLIENT_OPERATION_DURATION
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_current_span
from sqlalchemy import event
from sqlalchemy.pool import PoolProxiedConnection

from auditspan.telemetry import database_status, type_name

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue
    from sqlalchemy.engine import Connection, Engine, ExceptionContext

_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""In seconds, as in the semantic conventions; the SDK's own are for milliseconds."""

_End: TypeAlias = Callable[[PoolProxiedConnection], None]

_instrumented: WeakSet[Engine] = WeakSet()


def instrument_transactions(engine: Engine, tracer: Tracer, meter: Meter) -> bool:
    """Trace the COMMIT and ROLLBACK of `engine`; return False if they are already traced.

    MUST be called before the SQLAlchemy instrumentation, which ends a failed statement's span.
    """
    if engine in _instrumented:
        return False
    _instrumented.add(engine)
    durations = meter.create_histogram(
        DB_CLIENT_OPERATION_DURATION,
        unit="s",
        description="Duration of database client operations.",
        explicit_bucket_boundaries_advisory=_BUCKETS,
    )
    _TransactionEnds(engine, tracer, durations)
    event.listen(engine, "handle_error", _explain_failure)
    return True


class _TransactionEnds:
    """Tracing of the ends of one engine's transactions."""

    def __init__(self, engine: Engine, tracer: Tracer, durations: Histogram) -> None:
        self._tracer = tracer
        self._durations = durations
        self._attributes = _engine_attributes(engine)
        self._announced: set[int] = set()
        event.listen(engine, "commit", self._announce)
        event.listen(engine, "rollback", self._announce)
        dialect: Any = engine.dialect  # Any: instance attributes replace the class's methods
        dialect.do_commit = self._traced("COMMIT", dialect.do_commit)
        dialect.do_rollback = self._traced("ROLLBACK", dialect.do_rollback)

    def _announce(self, connection: Connection) -> None:
        # An invalidated connection is not rolled back; its entry would never be removed.
        if not connection.closed and not connection.invalidated:
            self._announced.add(id(connection.connection))

    def _traced(self, operation: str, end: _End) -> _End:
        def traced_end(connection: PoolProxiedConnection) -> None:
            if id(connection) not in self._announced:
                end(connection)
                return
            self._announced.discard(id(connection))
            if not is_instrumentation_enabled():
                end(connection)
                return
            with self._measured(operation):
                if get_current_span().is_recording():
                    self._in_span(operation, end, connection)
                else:
                    end(connection)

        return traced_end

    @contextmanager
    def _measured(self, operation: str) -> Iterator[None]:
        attributes = {**self._attributes, db_attributes.DB_OPERATION_NAME: operation}
        started = perf_counter()
        try:
            yield
        except BaseException as error:
            attributes[error_attributes.ERROR_TYPE] = type_name(error)
            raise
        finally:
            self._durations.record(perf_counter() - started, attributes)

    def _in_span(self, operation: str, end: _End, connection: PoolProxiedConnection) -> None:
        with self._tracer.start_as_current_span(
            operation,
            kind=SpanKind.CLIENT,
            attributes={**self._attributes, db_attributes.DB_OPERATION_NAME: operation},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                end(connection)
            except BaseException as error:
                _mark_failed(span, error)
                span.set_status(Status(StatusCode.ERROR, type_name(error)))
                raise


def _engine_attributes(engine: Engine) -> dict[str, AttributeValue]:
    attributes = {
        db_attributes.DB_SYSTEM_NAME: engine.dialect.name,
        db_attributes.DB_NAMESPACE: engine.url.database,
        server_attributes.SERVER_ADDRESS: engine.url.host,
        server_attributes.SERVER_PORT: engine.url.port,
    }
    return {name: value for name, value in attributes.items() if value}


def _explain_failure(failure: ExceptionContext) -> None:
    """Add the type of failure to a failed statement's span."""
    span = getattr(failure.execution_context, "_otel_span", None)
    if isinstance(span, Span) and span.is_recording():
        _mark_failed(span, failure.original_exception)


def _mark_failed(span: Span, error: BaseException) -> None:
    span.set_attribute(error_attributes.ERROR_TYPE, type_name(error))
    if status := database_status(error):
        span.set_attribute(db_attributes.DB_RESPONSE_STATUS_CODE, status)
