"""Telemetry that fails loudly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from auditspan.telemetry import TelemetryErrors


@contextmanager
def telemetry_errors_raised() -> Iterator[None]:
    """Raise what fails while span events and counts are emitted; in production it is only logged.

    The change is committed when that happens. For the whole process, all threads included.
    """
    before = TelemetryErrors.raised
    TelemetryErrors.raised = True
    try:
        yield
    finally:
        TelemetryErrors.raised = before
