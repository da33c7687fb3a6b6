"""Attributes of an event that identify an audit row."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.util.types import AttributeValue

from auditspan.format import AuditRecord
from auditspan.telemetry import semconv


def pointer(record: AuditRecord) -> Mapping[str, AttributeValue]:
    """Return the attributes that identify the row: no values, no personal data."""
    attributes: dict[str, str | None] = {
        semconv.RECORD_ID: record.event_id,
        semconv.ACTION: record.action,
        semconv.OUTCOME: record.outcome,
        semconv.TARGET_TYPE: record.target.type if record.target else None,
        semconv.TARGET_ID: record.target.id if record.target else None,
        semconv.ACTOR_TYPE: record.actor.type,
        semconv.ACTOR_ID: record.actor.id,
    }
    return {name: value for name, value in attributes.items() if value is not None}
