"""Metrics of processes without requests: the worker, and a scheduled verification."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from auditspan.telemetry import VerifyMeters
from auditspan.verify import VerifyReport
from auditspan.verify.state import NOTICES, StateReport
from auditspan_service.config import Settings
from auditspan_service.telemetry.exporters import Exporters, select_metrics
from auditspan_service.telemetry.providers import TelemetryConfig, setup_telemetry

_VERIFIER = "verify"
"""The `service.instance.id` of every verification, so that each replaces the previous one."""


@contextmanager
def reporting_metrics(settings: Settings) -> Iterator[None]:
    """Export the metrics of the block to the sink of `AUDITSPAN_SINK`; only once per process."""
    telemetry = setup_telemetry(TelemetryConfig(), _exporters(settings))
    try:
        yield
    finally:
        telemetry.shutdown()


def report_verified(settings: Settings, report: VerifyReport, live: StateReport | None) -> None:
    """Export the result of a verification; log an error if there is no answer for 5 seconds."""
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
    return Exporters(metrics=select_metrics(settings.sink, files=settings.collector_files))
