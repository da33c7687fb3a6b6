"""Metrics of writers, sealers, relays and verifications (names in `semconv`)."""

from __future__ import annotations

from datetime import UTC, datetime

from opentelemetry import metrics

from auditspan.telemetry import semconv
from auditspan.telemetry.scope import SCHEMA_URL, SCOPE_VERSION

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Bucket bounds of a histogram in seconds; the SDK's defaults are for milliseconds."""


def _meter(provider: metrics.MeterProvider | None = None) -> metrics.Meter:
    provider = provider or metrics.get_meter_provider()
    return provider.get_meter(semconv.SCOPE, SCOPE_VERSION, schema_url=SCHEMA_URL)


emitted = _meter().create_counter(
    semconv.METRIC_EMITTED, unit="{record}", description="Audit rows committed"
)
"""Counter of committed rows; the committing process increments it after the outermost commit."""


class SealMeters:
    """Metrics of the sealer."""

    def __init__(self) -> None:
        meter = _meter()
        self._lag = meter.create_gauge(
            semconv.METRIC_SEAL_LAG, unit="s", description="Oldest record of a batch, when sealed"
        )

    def sealed(self, oldest: str) -> None:
        """Record the seal lag of a batch whose oldest row has this time."""
        try:
            moment = datetime.fromisoformat(oldest)
        except ValueError:
            return  # the stored time was tampered with; `verify` reports it
        self._lag.set((datetime.now(UTC) - moment).total_seconds())


class RelayMeters:
    """Metrics of the delivery to one sink.

    Args:
        sink: the name of the sink.
        acknowledgement: which answers count as delivered, for a sink that asks a receiver.
    """

    def __init__(self, sink: str, acknowledgement: str | None = None) -> None:
        meter = _meter()
        self._attributes = {semconv.SINK: sink}
        if acknowledgement:
            self._attributes[semconv.ACKNOWLEDGEMENT] = acknowledgement
        self._exported = meter.create_counter(
            semconv.METRIC_EXPORTED, unit="{record}", description="Records a sink acknowledged"
        )
        self._depth = meter.create_gauge(
            semconv.METRIC_QUEUE_DEPTH, unit="{record}", description="Sealed, not acknowledged"
        )
        self._duration = meter.create_histogram(
            semconv.METRIC_EXPORT_DURATION,
            unit="s",
            description="One batch, sent to acknowledged",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._dropped = meter.create_counter(
            semconv.METRIC_DROPPED, unit="{record}", description="Records lost; must stay 0"
        )

        self._oldest = meter.create_gauge(
            semconv.METRIC_QUEUE_AGE, unit="s", description="Age of the oldest undelivered record"
        )
        self._failures = meter.create_counter(
            semconv.METRIC_EXPORT_FAILURES, unit="{attempt}", description="Attempts that failed"
        )
        self._capped = meter.create_counter(
            semconv.METRIC_RETRY_AFTER_CAPPED,
            unit="{answer}",
            description="Retry-After above the limit",
        )

    def failed(self) -> None:
        """Count an attempt that failed because the sink was unavailable."""
        self._failures.add(1, self._attributes)

    def oldest(self, seconds: float) -> None:
        """Record the age of the oldest record that waits for delivery; 0 if none does."""
        self._oldest.set(seconds, self._attributes)

    def retry_after_capped(self) -> None:
        """Count an answer that requested a longer pause than the relay allows."""
        self._capped.add(1, self._attributes)

    def exported(self, records: int, seconds: float) -> None:
        """Record that a batch was acknowledged."""
        self._exported.add(records, self._attributes)
        self._duration.record(seconds, self._attributes)

    def queued(self, records: int) -> None:
        """Record the number of sealed records that wait for delivery."""
        self._depth.set(records, self._attributes)
        # Nothing is ever dropped. Zeros are exported so that alerts can be defined on them, and
        # repeated because the provider may be installed after the relay was created.
        self._dropped.add(0, self._attributes)
        self._failures.add(0, self._attributes)


class VerifyMeters:
    """Metrics of a verification, for monitoring scheduled verifications."""

    def __init__(self, provider: metrics.MeterProvider) -> None:
        meter = _meter(provider)
        self._findings = meter.create_gauge(
            semconv.METRIC_VERIFY_FINDINGS, unit="{finding}", description="Verification findings"
        )
        self._sealed = meter.create_gauge(
            semconv.METRIC_VERIFY_SEALED, unit="{record}", description="Sealed rows, when verified"
        )
        self._time = meter.create_gauge(
            semconv.METRIC_VERIFY_TIME, unit="s", description="When it ended, in Unix time"
        )

    def verified(self, *, findings: int, sealed: int) -> None:
        """Record the result of a verification that has just ended."""
        self._findings.set(findings)
        self._sealed.set(sealed)
        self._time.set(datetime.now(UTC).timestamp())
