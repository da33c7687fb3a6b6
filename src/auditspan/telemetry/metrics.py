"""The metrics of those who write, seal, relay and verify (names in `semconv`)."""

from __future__ import annotations

from datetime import UTC, datetime

from opentelemetry import metrics

from auditspan.telemetry import semconv

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Bounds of a histogram of seconds; the SDK's own are for milliseconds."""

emitted = metrics.get_meter(semconv.SCOPE).create_counter(
    semconv.METRIC_EMITTED, unit="{record}", description="Audit rows committed"
)
"""Counted by the process that commits, when the outermost transaction has committed."""


class SealMeters:
    """What the sealer does."""

    def __init__(self) -> None:
        meter = metrics.get_meter(semconv.SCOPE)
        self._lag = meter.create_gauge(
            semconv.METRIC_SEAL_LAG, unit="s", description="Oldest record of a batch, when sealed"
        )

    def sealed(self, oldest: str) -> None:
        """A batch was sealed, of rows that the database recorded from this time on."""
        try:
            moment = datetime.fromisoformat(oldest)
        except ValueError:
            return  # somebody has put a time into the table that is none; verify names it
        self._lag.set((datetime.now(UTC) - moment).total_seconds())


class RelayMeters:
    """What happens to records on their way to one sink."""

    def __init__(self, sink: str) -> None:
        meter = metrics.get_meter(semconv.SCOPE)
        self._attributes = {semconv.SINK: sink}
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

        self._capped = meter.create_counter(
            semconv.METRIC_RETRY_AFTER_CAPPED,
            unit="{answer}",
            description="Retry-After above the limit",
        )

    def retry_after_capped(self) -> None:
        """A sink asked for a longer pause than the relay grants."""
        self._capped.add(1, self._attributes)

    def exported(self, records: int, seconds: float) -> None:
        """A batch was acknowledged."""
        self._exported.add(records, self._attributes)
        self._duration.record(seconds, self._attributes)

    def queued(self, records: int) -> None:
        """How many sealed records wait."""
        self._depth.set(records, self._attributes)
        # Nothing is ever dropped; the zero is exported so that an alert on it can be written. Said
        # again each time: the provider may be installed after the relay was made.
        self._dropped.add(0, self._attributes)


class VerifyMeters:
    """What one verification has found, for whoever watches a verification that a clock starts."""

    def __init__(self, provider: metrics.MeterProvider) -> None:
        meter = provider.get_meter(semconv.SCOPE)
        self._findings = meter.create_gauge(
            semconv.METRIC_VERIFY_FINDINGS, unit="{finding}", description="What is not as written"
        )
        self._sealed = meter.create_gauge(
            semconv.METRIC_VERIFY_SEALED, unit="{record}", description="Sealed rows, when verified"
        )
        self._time = meter.create_gauge(
            semconv.METRIC_VERIFY_TIME, unit="s", description="When it ended, in Unix time"
        )

    def verified(self, *, findings: int, sealed: int) -> None:
        """A verification has ended now."""
        self._findings.set(findings)
        self._sealed.set(sealed)
        self._time.set(datetime.now(UTC).timestamp())
