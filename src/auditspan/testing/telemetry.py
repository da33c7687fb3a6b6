"""Telemetry errors that fail tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from auditspan.telemetry import TelemetryErrors


@contextmanager
def telemetry_errors_raised() -> Iterator[None]:
    """Raise errors from emitting span events and counts; in production they are only logged.

    The change is already committed by then. This applies to all threads of the process.
    """
    before = TelemetryErrors.raised
    TelemetryErrors.raised = True
    try:
        yield
    finally:
        TelemetryErrors.raised = before
