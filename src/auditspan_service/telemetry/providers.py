"""The providers of traces, logs and metrics, and their exporters.

The composition root creates them once; tests may use several side by side. All `OTEL_*` variables
keep their standard meaning: values set here are only defaults, unless a parameter is documented to
override a variable.

Call `setup_telemetry` in the serving process. The SDK's background threads do not survive a fork,
and a child that is started with a `preexec_fn` would restart them before its exec.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from auditspan_service.telemetry.exporters import Exporters, Sink, select_exporters
from auditspan_service.telemetry.span_scrubbing import ScrubbingExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FLUSH_SECONDS = 5.0
"""Time limit for a flush or a shutdown if the collector does not answer."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TelemetryConfig:
    """Configuration of the service's own telemetry.

    Attributes:
        sink: the destination of traces, logs and metrics, see `exporters`.
        service_name: `service.name`, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES sets it.
        service_version: `service.version`; by default that of this distribution.
        service_instance_id: `service.instance.id`; by default random, new in every process.
        endpoint: the collector's base URL for the sink `otlp`; overrides
            OTEL_EXPORTER_OTLP_ENDPOINT.
        files: the directory in which the sink `file` creates `telemetry/`.
        span_delay_millis: the batch delay of spans; overrides OTEL_BSP_SCHEDULE_DELAY.
        log_delay_millis: the batch delay of log records; overrides OTEL_BLRP_SCHEDULE_DELAY.
        metric_interval_millis: the time between two exports of metrics; overrides
            OTEL_METRIC_EXPORT_INTERVAL.
        install_global: install the providers for the process, which is possible only once, and
            flush them when the process exits.
    """

    sink: Sink = "otlp"
    service_name: str = "auditspan"
    service_version: str | None = None
    service_instance_id: str | None = None
    endpoint: str | None = None
    files: Path | None = None
    span_delay_millis: float | None = None
    log_delay_millis: float | None = None
    metric_interval_millis: float | None = None
    install_global: bool = True


class Telemetry:
    """The providers of the three signals, with a common lifetime."""

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider,
        logger_provider: LoggerProvider,
        meter_provider: MeterProvider,
    ) -> None:
        self.tracer_provider = tracer_provider
        self.logger_provider = logger_provider
        self.meter_provider = meter_provider
        self._lock = threading.Lock()
        self._ended = False

    @property
    def resource(self) -> Resource:
        """The resource of all three signals, including the variables."""
        return self.tracer_provider.resource

    def force_flush(self, timeout: float = FLUSH_SECONDS) -> bool:
        """Pass everything to the exporters; return False if that took more than `timeout` seconds.

        True does not mean that the collector accepted it: the SDK does not report that.
        """
        providers = (self.tracer_provider, self.logger_provider, self.meter_provider)
        return _within(timeout, [provider.force_flush for provider in providers])

    def shutdown(self, timeout: float = FLUSH_SECONDS) -> bool:
        """Flush and shut down, once; return False if `timeout` passed and data was lost."""
        with self._lock:
            if self._ended:
                return True
            self._ended = True
        atexit.unregister(self.shutdown)
        providers = (self.tracer_provider, self.logger_provider, self.meter_provider)
        return _within(timeout, [provider.shutdown for provider in providers])


def setup_telemetry(config: TelemetryConfig, exporters: Exporters | None = None) -> Telemetry:
    """Create the providers, and the exporters of the configured sink unless they are given.

    Raises:
        AuditConfigError: the sink lacks a setting or cannot be opened, a variable is invalid, or an
            exporter is not installed.
    """
    # The instrumentations read this once, when the first of them starts. This writes the
    # environment and does not read it: an operator's own value takes precedence.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")
    exporters = exporters or select_exporters(
        config.sink, endpoint=config.endpoint, files=config.files
    )
    resource = _resource(config)
    telemetry = Telemetry(
        tracer_provider=_tracer_provider(config, resource, exporters),
        logger_provider=_logger_provider(config, resource, exporters),
        meter_provider=_meter_provider(config, resource, exporters),
    )
    if config.install_global:
        _install(telemetry)
    return telemetry


def _resource(config: TelemetryConfig) -> Resource:
    ours = {
        "service.name": config.service_name,
        "service.version": config.service_version or version("auditspan"),
    }
    if config.service_instance_id:
        ours["service.instance.id"] = config.service_instance_id
    # Resource.create prefers its arguments to the variables; the variables must take precedence.
    return Resource.create(ours).merge(OTELResourceDetector().detect())


def _tracer_provider(
    config: TelemetryConfig, resource: Resource, exporters: Exporters
) -> TracerProvider:
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    if exporters.spans is not None:
        exporter = ScrubbingExporter(exporters.spans)
        provider.add_span_processor(
            BatchSpanProcessor(exporter, schedule_delay_millis=config.span_delay_millis)
        )
    return provider


def _logger_provider(
    config: TelemetryConfig, resource: Resource, exporters: Exporters
) -> LoggerProvider:
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    if exporters.logs is not None:
        provider.add_log_record_processor(
            BatchLogRecordProcessor(exporters.logs, schedule_delay_millis=config.log_delay_millis)
        )
    return provider


def _meter_provider(
    config: TelemetryConfig, resource: Resource, exporters: Exporters
) -> MeterProvider:
    readers: list[MetricReader] = []
    if exporters.metrics is not None:
        interval = config.metric_interval_millis
        readers.append(PeriodicExportingMetricReader(exporters.metrics, interval))
    return MeterProvider(readers, resource=resource, shutdown_on_exit=False)


def _install(telemetry: Telemetry) -> None:
    trace.set_tracer_provider(telemetry.tracer_provider)
    _logs.set_logger_provider(telemetry.logger_provider)
    metrics.set_meter_provider(telemetry.meter_provider)
    # The SDK's own exit handlers wait 30 seconds for each signal if the collector does not answer.
    atexit.register(telemetry.shutdown)


def _within(timeout: float, calls: Sequence[Callable[[], object]]) -> bool:
    """Run all `calls` concurrently; return whether they completed within `timeout` seconds.

    They run in threads, because the SDK accepts a deadline but waits as long as its exporter does.
    """
    deadline = time.monotonic() + timeout
    threads = [threading.Thread(target=_attempt, args=(call,), daemon=True) for call in calls]
    for thread, call in zip(threads, calls, strict=True):
        try:
            thread.start()
        except RuntimeError:  # since Python 3.12 no thread can start while the interpreter exits
            _attempt(call)
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _attempt(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception:
        _logger.exception("telemetry could not be flushed")
