"""From a sealed row to its OpenTelemetry log record, by the row alone.

The record is made directly: the SDK's logger would cut attributes at its limits, silently.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AnyValue

from auditspan import semconv

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SCOPE = InstrumentationScope(semconv.SCOPE)


@dataclass(frozen=True, kw_only=True)
class SealedRow:
    """A row of the trail with its place in the sealed sequence."""

    seq: int
    event_id: str
    recorded_at: datetime
    body: str
    mac: str | None


def log_record(row: SealedRow) -> ReadableLogRecord:
    """The log record of a row: body byte for byte, trace id and span id of the request."""
    body = json.loads(row.body)
    failed = body["outcome"] == "failure"
    record = LogRecord(
        timestamp=unix_nanos(datetime.fromisoformat(body["occurred_at"])),
        observed_timestamp=unix_nanos(row.recorded_at),
        context=_context(body["trace_id"], body["span_id"]),
        severity_number=SeverityNumber.WARN if failed else SeverityNumber.INFO,
        severity_text="WARN" if failed else "INFO",
        body=row.body,
        attributes=_attributes(row, body),
        event_name=semconv.EVENT_PREFIX + body["action"],
    )
    return ReadableLogRecord(record, _resource(body["service"]), _SCOPE)


def unix_nanos(moment: datetime) -> int:
    """Nanoseconds since 1970, exact to the microsecond."""
    return (moment - _EPOCH) // _MICROSECOND * 1000


def _context(trace_id: str | None, span_id: str | None) -> Context:
    # An empty Context would not do: LogRecord takes the *current* one in its place.
    if trace_id is None or span_id is None:
        return set_span_in_context(INVALID_SPAN, Context())
    span = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags.get_default()
    )
    return set_span_in_context(NonRecordingSpan(span), Context())


def _attributes(row: SealedRow, body: dict[str, Any]) -> dict[str, AnyValue]:
    actor, target, request = body["actor"], body["target"] or {}, body["request"] or {}
    attributes: dict[str, AnyValue] = {
        semconv.LOG_RECORD_UID: row.event_id,
        semconv.RECORD_ID: row.event_id,
        semconv.ACTOR_TYPE: actor["type"],
        semconv.ACTOR_ID: actor["id"],
        semconv.ACTION: body["action"].rpartition(".")[2].upper(),
        semconv.OUTCOME: body["outcome"],
        semconv.TARGET_TYPE: target.get("type"),
        semconv.TARGET_ID: target.get("id"),
        semconv.SEQUENCE_NUMBER: row.seq,
        semconv.SCHEMA_VERSION: str(body["v"]),
        semconv.CLIENT_ADDRESS: request.get("client_address"),
        semconv.USER_AGENT_ORIGINAL: request.get("user_agent"),
        semconv.HTTP_REQUEST_METHOD: request.get("method"),
        semconv.HTTP_ROUTE: request.get("route"),
        semconv.INTEGRITY_VALUE: row.mac,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _resource(service: dict[str, str | None]) -> Resource:
    attributes = {
        semconv.SERVICE_NAME: service["name"],
        semconv.SERVICE_VERSION: service["version"],
        semconv.SERVICE_INSTANCE_ID: service["instance"],
    }
    return Resource({name: value for name, value in attributes.items() if value is not None})
