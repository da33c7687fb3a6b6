"""Events for committed records as log records of OpenTelemetry's Logs API (OTEP 4430).

Such an event points to the row, as a span event does, and has the ids of the current span. It is
not the record that the relay delivers: it has neither a body nor a `log.record.uid`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from opentelemetry import _logs, context

from auditspan.errors import AuditConfigError
from auditspan.format import AuditRecord
from auditspan.telemetry import semconv
from auditspan.telemetry.pointer import pointer
from auditspan.telemetry.scope import SCHEMA_URL, SCOPE_VERSION

if TYPE_CHECKING:
    from opentelemetry.util.types import AnyValue

EventSignal: TypeAlias = Literal["span", "log", "both"]
"""How committed records are announced: on the current span, as log records, or both."""

SIGNALS = ("span", "log", "both")


def require_signal(signal: str) -> None:
    """Check that events can be emitted as this signal.

    Raises:
        AuditConfigError: it is none of `SIGNALS`, or OpenTelemetry's API is too old for log events.
    """
    if signal not in SIGNALS:
        raise AuditConfigError(f"invalid events {signal!r}: expected one of {', '.join(SIGNALS)}")
    if signal != "span":
        try:
            _event("audit", {})
        except (AttributeError, TypeError) as error:
            raise AuditConfigError(
                f"events={signal!r} requires log records with an event name, which this version of "
                "opentelemetry-api lacks: install a newer one, or use events='span'"
            ) from error


def emit_log_events(records: Sequence[AuditRecord], *, omitted: int) -> None:
    """Emit an event for each record, and one with the number of omitted events if there are any."""
    logger = _logs.get_logger(semconv.SCOPE, SCOPE_VERSION, schema_url=SCHEMA_URL)
    for record in records:
        logger.emit(_event(semconv.EVENT_PREFIX + record.action, {**pointer(record)}))
    if omitted:
        logger.emit(_event(semconv.EVENT_TRUNCATED, {semconv.TRUNCATED_COUNT: omitted}))


def _event(name: str, attributes: dict[str, AnyValue]) -> _logs.LogRecord:
    return _logs.LogRecord(
        timestamp=time.time_ns(),
        context=context.get_current(),
        severity_number=_logs.SeverityNumber.INFO,
        severity_text="INFO",
        event_name=name,
        attributes=attributes,
    )
