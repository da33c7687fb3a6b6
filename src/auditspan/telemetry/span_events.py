"""Events for committed records: on the current span, as log records, or both.

The caller MUST call `announce` only after the outermost commit. `announce` MUST NOT raise into the
caller, whose change is already in the database: a failure is logged, and raised under test. A span
event only points to the row; the log record that the relay sends is complete.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from opentelemetry import trace

from auditspan.format import ActorType, AuditRecord
from auditspan.telemetry import semconv
from auditspan.telemetry.log_events import EventSignal, emit_log_events
from auditspan.telemetry.metrics import emitted
from auditspan.telemetry.pointer import pointer

MAX_SPAN_EVENTS = 100
"""The maximum per span, which by default keeps 128 events; the rest is for the application."""

_logger = logging.getLogger(__name__)


class TelemetryErrors:
    """Switch for raising failures to emit. Only test suites set it."""

    raised: bool = False


def announce(
    records: Sequence[AuditRecord],
    counts: Mapping[ActorType, int],
    *,
    signal: EventSignal = "span",
) -> None:
    """Count the records of a transaction, and emit an event for each of them.

    At most `MAX_SPAN_EVENTS` are emitted, and then one more with the number of omitted events.

    Args:
        records: the first records, at least `MAX_SPAN_EVENTS` if there are that many.
        counts: the number of records by actor type; records without an actor count as `unknown`.
        signal: whether the events are added to the current span, are log records, or both.
    """
    count = sum(counts.values())
    try:
        for actor_type, number in counts.items():
            emitted.add(number, {semconv.ACTOR_TYPE: actor_type})
        if signal != "log":
            _add_events(trace.get_current_span(), records, count)
        if signal != "span":
            emit_log_events(records[:MAX_SPAN_EVENTS], omitted=max(0, count - MAX_SPAN_EVENTS))
    except Exception:
        if TelemetryErrors.raised:
            raise
        _logger.exception("lost the telemetry of %d committed records", count)


def _add_events(span: trace.Span, records: Sequence[AuditRecord], count: int) -> None:
    if span.is_recording():
        for record in records[:MAX_SPAN_EVENTS]:
            span.add_event(semconv.EVENT_PREFIX + record.action, pointer(record))
        if count > MAX_SPAN_EVENTS:
            left_out = count - MAX_SPAN_EVENTS
            span.add_event(semconv.EVENT_TRUNCATED, {semconv.TRUNCATED_COUNT: left_out})
