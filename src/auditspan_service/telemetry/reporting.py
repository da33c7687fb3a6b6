"""Metrics of processes that serve nobody: the worker, and a verification that a timer starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.metrics.export import MetricExporter

from auditspan.telemetry import VerifyMeters
from auditspan.verify import VerifyReport
from auditspan.verify.state import NOTICES, StateReport
from auditspan_service.config import Settings
from auditspan_service.telemetry.exporters import Exporters, file_metrics, otlp_metrics
from auditspan_service.telemetry.providers import TelemetryConfig, setup_telemetry

_VERIFIER = "verify"
"""`service.instance.id` of every verification, so that each takes the place of the one before."""


@contextmanager
def reporting_metrics(settings: Settings) -> Iterator[None]:
    """What is measured inside the block goes where `AUDITSPAN_SINK` says; once per process."""
    telemetry = setup_telemetry(TelemetryConfig(), _exporters(settings))
    try:
        yield
    finally:
        telemetry.shutdown()


def report_verified(settings: Settings, report: VerifyReport, live: StateReport | None) -> None:
    """Send how a verification has ended. Where nobody answers, that is logged after 5 seconds."""
    findings = len(report.findings) + _differences(live)
    config = TelemetryConfig(install_global=False, service_instance_id=_VERIFIER)
    telemetry = setup_telemetry(config, _exporters(settings))
    meters = VerifyMeters(telemetry.meter_provider)
    meters.verified(findings=findings, sealed=report.tree_size)
    telemetry.shutdown()


def _differences(live: StateReport | None) -> int:
    if live is None:
        return 0
    return sum(one.kind not in NOTICES for one in live.differences)


def _exporters(settings: Settings) -> Exporters:
    return Exporters(metrics=_metric_exporter(settings))


def _metric_exporter(settings: Settings) -> MetricExporter | None:
    match settings.sink:
        case "otlp":
            return otlp_metrics()
        case "file":
            return file_metrics(settings.collector_files)
        case "console":
            return None
