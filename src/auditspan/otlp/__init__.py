"""Readers for the collector's files (OTLP JSON)."""

from __future__ import annotations

from auditspan.otlp.files import Damage, read_logs, read_spans
from auditspan.otlp.trace_tree import build_trace, render_trace, trace_as_dict

__all__ = ["Damage", "build_trace", "read_logs", "read_spans", "render_trace", "trace_as_dict"]
