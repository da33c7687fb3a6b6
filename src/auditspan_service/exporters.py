"""Where telemetry goes: one set of exporters for each sink.

- `otlp`: to a collector, OTLP over HTTP. Every `OTEL_EXPORTER_OTLP_*` variable keeps its meaning.
- `file`: what the collector would have written, as the same JSON lines in the same layout.
- `console`: spans as OTLP JSON lines on standard error. Log records are there already, written by
  `logs`; metrics are left out, a console cannot do anything with them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

from opentelemetry.exporter.otlp.json.file import FileMetricExporter, FileSpanExporter
from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from auditspan.errors import AuditConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

Sink: TypeAlias = Literal["otlp", "file", "console"]


@dataclass(frozen=True, kw_only=True)
class Exporters:
    """One exporter a signal, or None for a signal that goes nowhere."""

    spans: SpanExporter | None = None
    logs: LogRecordExporter | None = None
    metrics: MetricExporter | None = None


def otlp_exporters(endpoint: str | None = None) -> Exporters:
    """To the collector at the base URL `endpoint`, or else where the variables say."""

    def url(signal: str) -> str | None:
        return f"{endpoint.rstrip('/')}/v1/{signal}" if endpoint else None

    return Exporters(
        spans=OTLPSpanExporter(endpoint=url("traces")),
        logs=OTLPLogExporter(endpoint=url("logs")),
        metrics=OTLPMetricExporter(endpoint=url("metrics")),
    )


def file_exporters(directory: Path) -> Exporters:
    """Into `directory`/telemetry/traces.jsonl, logs.jsonl and metrics.jsonl, appending.

    Several processes may write the same files: each line is a single write. They grow without end;
    this sink is for development.

    Raises:
        AuditConfigError: the files cannot be opened for writing.
    """
    folder = directory / "telemetry"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Exporters(
            spans=FileSpanExporter(folder / "traces.jsonl"),
            logs=FileLogExporter(folder / "logs.jsonl"),
            metrics=FileMetricExporter(folder / "metrics.jsonl"),
        )
    except OSError as error:
        raise AuditConfigError(
            f"The telemetry files cannot be written: {error}. Make {folder} writable, or choose "
            "another sink (AUDITSPAN_SINK=otlp or console)."
        ) from error


def console_exporters(stream: TextIO | None = None) -> Exporters:
    """Spans to `stream` (standard error), one export a line."""
    return Exporters(spans=FileSpanExporter(stream=stream or sys.stderr))
