"""Export of the spans of a test session, to a collector or to a file like the collector's."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import urllib3
from google.protobuf.json_format import MessageToDict
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

_IDS = {"traceId", "spanId", "parentSpanId"}


class CollectorSpans(SpanExporter):
    """Exporter that posts spans to a collector.

    Args:
        endpoint: the base URL, without ``/v1/traces``.
    """

    def __init__(self, endpoint: str) -> None:
        self._url = f"{endpoint}/v1/traces"
        self._pool = urllib3.PoolManager(retries=False)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Post the spans; a failure is raised, because a test would wait for them in vain."""
        answer = self._pool.request(
            "POST",
            self._url,
            body=encode_spans(spans).SerializeToString(),
            headers={"content-type": "application/x-protobuf"},
        )
        if answer.status != 200:  # noqa: PLR2004 (HTTP)
            raise RuntimeError(f"{self._url} answered {answer.status}")
        return SpanExportResult.SUCCESS


class FileSpans(SpanExporter):
    """Exporter that appends lines of OTLP JSON, as the collector's file exporter does."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append one line."""
        document = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(_with_hex_ids(document)) + "\n")
        return SpanExportResult.SUCCESS


def export_spans(exporter: SpanExporter) -> None:
    """Add an exporter to the tracer provider of the process, which is set if there is none."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))


def _with_hex_ids(value: object) -> object:
    if isinstance(value, list):
        return [_with_hex_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64decode(item).hex() if name in _IDS else _with_hex_ids(item)
        for name, item in value.items()
    }
