"""The workers' own metrics (names in `semconv`)."""

from __future__ import annotations

from opentelemetry import metrics

from auditspan import semconv


class Meters:
    """Counts what happens to records on their way to one sink."""

    def __init__(self, sink: str) -> None:
        meter = metrics.get_meter(semconv.SCOPE)
        self._attributes = {"audit.sink": sink}
        self._exported = meter.create_counter(
            semconv.METRIC_EXPORTED, unit="{record}", description="Records a sink acknowledged"
        )
        self._duration = meter.create_histogram(
            semconv.METRIC_EXPORT_DURATION, unit="s", description="One batch, sent to acknowledged"
        )
        # Nothing is ever dropped; the zero is exported so that an alert on it can be written.
        meter.create_counter(
            semconv.METRIC_DROPPED, unit="{record}", description="Records lost; must stay 0"
        ).add(0, self._attributes)

    def exported(self, records: int, seconds: float) -> None:
        """A batch was acknowledged."""
        self._exported.add(records, self._attributes)
        self._duration.record(seconds, self._attributes)
