"""Telemetry exporters for each sink.

- `otlp`: to a collector, OTLP over HTTP. Every `OTEL_EXPORTER_OTLP_*` variable keeps its meaning.
- `file`: the JSON lines that the collector would write, in the same layout.
- `console`: spans as OTLP JSON lines on standard error. `logs` already prints log records there;
  metrics are omitted, because they are of no use on a console.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

import requests
import urllib3
from opentelemetry.exporter.otlp.json.file import FileMetricExporter, FileSpanExporter
from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from requests.adapters import HTTPAdapter

from auditspan.delivery import proxy_for, read_answer
from auditspan.errors import AuditConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

Sink: TypeAlias = Literal["otlp", "file", "console"]


@dataclass(frozen=True, kw_only=True)
class Exporters:
    """Exporters by signal; None for a signal that is not exported."""

    spans: SpanExporter | None = None
    logs: LogRecordExporter | None = None
    metrics: MetricExporter | None = None


def otlp_exporters(endpoint: str | None = None) -> Exporters:
    """Export to the collector at the base URL `endpoint`, or else that of the variables."""
    return Exporters(
        spans=OTLPSpanExporter(endpoint=_url(endpoint, "traces"), session=_Session()),
        logs=OTLPLogExporter(endpoint=_url(endpoint, "logs"), session=_Session()),
        metrics=otlp_metrics(endpoint),
    )


def otlp_metrics(endpoint: str | None = None) -> MetricExporter:
    """Export metrics only, to the same collector."""
    return OTLPMetricExporter(endpoint=_url(endpoint, "metrics"), session=_Session())


def _url(endpoint: str | None, signal: str) -> str | None:
    return f"{endpoint.rstrip('/')}/v1/{signal}" if endpoint else None


class _Adapter(HTTPAdapter):
    """Adapter that limits the size of a response as `auditspan.delivery.answers` does."""

    def build_response(self, req: Any, resp: Any) -> requests.Response:  # noqa: ANN401 (as in requests)
        """Build a response whose body has already been read."""
        response = super().build_response(req, resp)
        try:
            content = read_answer(resp).data
        except urllib3.exceptions.HTTPError as error:
            raise requests.exceptions.ConnectionError(error, request=req) from error
        response._content, response._content_consumed = content, True  # noqa: SLF001 (no other way)
        return response


class _Session(requests.Session):
    """Session that trusts only the CA of OTEL_EXPORTER_OTLP_CERTIFICATE.

    It chooses a proxy by the rule of `auditspan.delivery.outbound`, like the sender of audit
    records.

    In requests, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE override the session's setting, so that a
    collector with that CA would be refused if one of them is set.
    """

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter())

    def merge_environment_settings(
        self,
        url: Any,  # noqa: ANN401 (all that requests takes)
        proxies: Any,  # noqa: ANN401
        stream: Any,  # noqa: ANN401
        verify: Any,  # noqa: ANN401
        cert: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        told = self.verify if verify is None else verify
        merged = super().merge_environment_settings(url, proxies, stream, told, cert)
        merged["proxies"] = _proxies(url)
        return merged

    def rebuild_proxies(self, prepared_request: Any, proxies: Any) -> Any:  # noqa: ANN401, ARG002
        """Choose the proxy of a redirect by the same rule."""
        return _proxies(prepared_request.url)


def _proxies(url: str) -> dict[str, str]:
    proxy = proxy_for(url)
    return {"http": proxy, "https": proxy} if proxy else {}


def file_exporters(directory: Path) -> Exporters:
    """Append to `directory`/telemetry/traces.jsonl, logs.jsonl and metrics.jsonl.

    Several processes may write the same files: each line is a single write. The files grow without
    limit; this sink is for development.

    Raises:
        AuditConfigError: the files cannot be opened for writing.
    """
    with _opening(directory) as folder:
        return Exporters(
            spans=FileSpanExporter(folder / "traces.jsonl"),
            logs=FileLogExporter(folder / "logs.jsonl"),
            metrics=FileMetricExporter(folder / "metrics.jsonl"),
        )


def file_metrics(directory: Path) -> MetricExporter:
    """Append metrics only, to the same file.

    Raises:
        AuditConfigError: the file cannot be opened for writing.
    """
    with _opening(directory) as folder:
        return FileMetricExporter(folder / "metrics.jsonl")


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


def console_exporters(stream: TextIO | None = None) -> Exporters:
    """Write spans to `stream` (standard error), one export per line."""
    return Exporters(spans=FileSpanExporter(stream=stream or sys.stderr))
