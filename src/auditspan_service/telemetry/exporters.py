"""Telemetry exporters for each signal, selected by the variables or else by the sink.

`OTEL_TRACES_EXPORTER`, `OTEL_LOGS_EXPORTER` and `OTEL_METRICS_EXPORTER` select `otlp`, `console` or
`none`. A signal without its variable goes to the sink:

- `otlp`: to a collector, see `otlp_exporters`.
- `file`: the JSON lines that the collector would write, in the same layout.
- `console`: spans as OTLP JSON lines on standard error. `logs` already prints log records there;
  metrics are omitted, because they are of no use on a console unless their variable asks for them.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from auditspan.errors import AuditConfigError
from auditspan.trail.settings import otel_variables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

    from auditspan.trail.settings import Signal
    from auditspan_service.telemetry.otlp_exporters import Exporter

Sink: TypeAlias = Literal["otlp", "file", "console"]

_FILE_PACKAGE = "opentelemetry.exporter.otlp.json.file"
_FILES: dict[Signal, tuple[str, str]] = {
    "traces": ("trace_exporter", "FileSpanExporter"),
    "logs": ("_log_exporter", "FileLogExporter"),
    "metrics": ("metric_exporter", "FileMetricExporter"),
}


@dataclass(frozen=True, kw_only=True)
class Exporters:
    """Exporters by signal; None for a signal that is not exported."""

    spans: SpanExporter | None = None
    logs: LogRecordExporter | None = None
    metrics: MetricExporter | None = None

    def shutdown(self) -> None:
        """Close the exporters, and the files that they write."""
        for exporter in (self.spans, self.logs, self.metrics):
            if exporter is not None:
                exporter.shutdown()


def select_exporters(
    sink: Sink, *, endpoint: str | None = None, files: Path | None = None
) -> Exporters:
    """Create the exporters of the three signals.

    Args:
        sink: the destination of signals whose variable is not set.
        endpoint: the collector's base URL for `otlp`, by default that of the variables.
        files: the directory of the sink `file`.

    Raises:
        AuditConfigError: a variable is invalid, an exporter is not installed, or the files cannot
            be opened for writing.
    """
    return Exporters(
        spans=_exporter("traces", sink, endpoint, files),
        logs=_exporter("logs", sink, endpoint, files),
        metrics=select_metrics(sink, endpoint=endpoint, files=files),
    )


def select_metrics(
    sink: Sink, *, endpoint: str | None = None, files: Path | None = None
) -> MetricExporter | None:
    """Create the exporter of metrics only; see `select_exporters`."""
    exporter: MetricExporter | None = _exporter("metrics", sink, endpoint, files)
    return exporter


def _exporter(signal: Signal, sink: Sink, endpoint: str | None, files: Path | None) -> Exporter:
    named = otel_variables.exporter(signal)
    match named or sink:
        case _ if otel_variables.is_disabled():
            return None
        case "otlp":
            # Most commands export nothing and need no HTTP client.
            from auditspan_service.telemetry.otlp_exporters import (  # noqa: PLC0415 (see above)
                otlp_exporter,
            )

            return otlp_exporter(signal, endpoint)
        case "file" if named is None and files is not None:
            return file_exporter(signal, files)
        case "console":
            is_shown = signal == "traces" or (signal == "metrics" and named)
            return _file_class(signal)(stream=sys.stderr) if is_shown else None
        case "none":
            return None
    raise AuditConfigError(_invalid(signal, named, sink))


def _file_class(signal: Signal) -> Any:  # noqa: ANN401 (one of three)
    """Import the exporter only where it is used: most commands export nothing."""
    module, name = _FILES[signal]
    return getattr(import_module(f"{_FILE_PACKAGE}.{module}"), name)


def _invalid(signal: Signal, named: str | None, sink: Sink) -> str:
    if named is not None:
        return (
            f"Invalid OTEL_{signal.upper()}_EXPORTER {named!r}: expected otlp, console or none, "
            "and only one of them; a collector can pass data on to any other destination."
        )
    return (
        f"Invalid telemetry sink {sink!r}: expected otlp, file or console; file also needs a "
        "directory (AUDITSPAN_COLLECTOR_FILES)."
    )


def file_exporter(signal: Signal, directory: Path) -> Exporter:
    """Append to `directory`/telemetry/traces.jsonl, logs.jsonl or metrics.jsonl.

    Several processes may write the same files: each line is a single write. The files grow without
    limit; this sink is for development.

    Raises:
        AuditConfigError: the file cannot be opened for writing.
    """
    with _opening(directory) as folder:
        return _file_class(signal)(folder / f"{signal}.jsonl")


@contextmanager
def _opening(directory: Path) -> Iterator[Path]:
    """Yield the directory of the files, and report a failure to open them."""
    folder = directory / "telemetry"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except OSError as error:
        raise AuditConfigError(
            f"The telemetry files cannot be written: {error}. Make {folder} writable, or choose "
            "another sink (AUDITSPAN_SINK=otlp or console)."
        ) from error
