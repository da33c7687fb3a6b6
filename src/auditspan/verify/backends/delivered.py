"""Audit records as a destination holds them."""

from __future__ import annotations

from typing import NamedTuple

from auditspan.telemetry import semconv
from auditspan.telemetry.otlp import LogEntry


class Delivered(NamedTuple):
    """Copy of an audit record in a destination.

    Attributes:
        event_id: the id of the event.
        body: the body of the record; None if the destination did not keep it.
        trail: the name of the trail in the record, if it has one.
    """

    event_id: str
    body: str | None
    trail: str | None = None


def delivered_of(entry: LogEntry) -> Delivered | None:
    """Return the copy that a log record is; None if it is not an audit record."""
    event_id = entry.attributes.get(semconv.RECORD_ID)
    if not entry.attributes.get(semconv.LOG_RECORD_UID) or not isinstance(event_id, str):
        return None
    name = entry.attributes.get(semconv.TRAIL_NAME)
    return Delivered(event_id, str(entry.body), name if isinstance(name, str) else None)
