"""Telemetry about audit records: names, span events, metrics."""

from __future__ import annotations

from auditspan.telemetry import semconv
from auditspan.telemetry.exception_text import (
    ExceptionText,
    database_status,
    describe,
    type_name,
    without_values,
)
from auditspan.telemetry.log_events import EventSignal, require_signal
from auditspan.telemetry.metrics import RelayMeters, SealMeters, VerifyMeters
from auditspan.telemetry.retry_log import RetryLog
from auditspan.telemetry.service import service_from_resource
from auditspan.telemetry.span_events import TelemetryErrors, announce
from auditspan.telemetry.trace_boundary import (
    Network,
    TraceBoundary,
    link_remote_span,
    parse_networks,
)
from auditspan.telemetry.trace_link import TraceLink

__all__ = [
    "EventSignal",
    "ExceptionText",
    "Network",
    "RelayMeters",
    "RetryLog",
    "SealMeters",
    "TelemetryErrors",
    "TraceBoundary",
    "TraceLink",
    "VerifyMeters",
    "announce",
    "database_status",
    "describe",
    "link_remote_span",
    "parse_networks",
    "require_signal",
    "semconv",
    "service_from_resource",
    "type_name",
    "without_values",
]
