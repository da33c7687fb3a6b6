"""Readers for the collector's files (OTLP JSON)."""

from __future__ import annotations

from auditspan.otlp.decode import LogEntry, SpanEvent, SpanRecord, as_json
from auditspan.otlp.files import Damage, read_logs, read_spans
from auditspan.otlp.trace_files import TraceFiles
from auditspan.otlp.trace_tree import Trace, render_trace, trace_as_dict

__all__ = [
    "Damage",
    "LogEntry",
    "SpanEvent",
    "SpanRecord",
    "Trace",
    "TraceFiles",
    "as_json",
    "read_logs",
    "read_spans",
    "render_trace",
    "trace_as_dict",
]
