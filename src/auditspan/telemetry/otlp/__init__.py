"""Readers for the collector's files (OTLP JSON), and for requests with log records."""

from __future__ import annotations

from auditspan.telemetry.otlp.decode import (
    LogEntry,
    MalformedError,
    SpanEvent,
    SpanRecord,
    Value,
    as_json,
)
from auditspan.telemetry.otlp.files import Damage, read_logs, read_spans
from auditspan.telemetry.otlp.logs_request import (
    JSON,
    PROTOBUF,
    LogOrError,
    logs_answer,
    logs_of_json,
    logs_of_protobuf,
)
from auditspan.telemetry.otlp.trace_files import TraceFiles
from auditspan.telemetry.otlp.trace_tree import Trace, render_trace, trace_as_dict

__all__ = [
    "JSON",
    "PROTOBUF",
    "Damage",
    "LogEntry",
    "LogOrError",
    "MalformedError",
    "SpanEvent",
    "SpanRecord",
    "Trace",
    "TraceFiles",
    "Value",
    "as_json",
    "logs_answer",
    "logs_of_json",
    "logs_of_protobuf",
    "read_logs",
    "read_spans",
    "render_trace",
    "trace_as_dict",
]
