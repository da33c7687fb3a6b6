"""Audit records of foreign events, and their comparison with stored ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from auditspan.capture import Recorder, of_actor
from auditspan.errors import AuditBodyError
from auditspan.format import (
    Actor,
    AuditRecord,
    Changes,
    Json,
    MacKey,
    Secrets,
    Service,
    read_body,
    read_event,
    redact,
    redact_members,
    represent_json,
    without_password_hashes,
)
from auditspan.trail.ingest.foreign_event import CLOCK_AHEAD, CLOCK_BEHIND, ForeignEvent, SpanIds

INGEST = "ingest"
"""The member of `metadata` with the producer, and with the state of its clock."""

_COMPARED = (
    *("action", "actor", "on_behalf_of", "target", "outcome", "reason", "changes", "tenant"),
    *("occurred_at", "trace_id", "span_id", "metadata"),
)


@dataclass(frozen=True, kw_only=True)
class RecordMaker:
    """Maker of the records of one producer."""

    recorder: Recorder
    mac_key: MacKey | None
    producer: Actor

    def record(self, event: ForeignEvent, tx_id: str) -> AuditRecord:
        """Return the record of an event.

        Raises:
            AuditBodyError: a value cannot be represented losslessly.
        """
        own = self.recorder.origin()
        secrets = self.recorder.privacy.secrets
        spans = event.span_ids() or SpanIds(own.trace_id, own.span_id)
        occurred_at = event.occurred_at or own.moment
        actor = event.actor or self.producer
        about = replace(own.context, on_behalf_of=event.on_behalf_of)
        return AuditRecord(
            event_id=event.event_id or self.recorder.new_id(),
            occurred_at=occurred_at,
            action=event.action,
            actor=actor,
            on_behalf_of=event.on_behalf_of,
            outcome=event.outcome,
            reason=without_password_hashes(event.reason) if event.reason else None,
            target=event.target,
            changes=_redacted_changes(event.changes, secrets, self.mac_key),
            metadata={
                **_redacted(event.metadata, secrets),
                INGEST: self._ingest(occurred_at, own.moment),
            },
            request=own.context.request,
            tenant=own.context.tenant,
            trace_id=spans.trace_id,
            span_id=spans.span_id,
            tx_id=tx_id,
            service=Service(name=self.producer.label or self.producer.id or self.producer.type),
            disclosures=[*of_actor(self.recorder.privacy, actor, about)],
        )

    def _ingest(self, occurred_at: datetime, now: datetime) -> dict[str, Json]:
        producer: dict[str, Json] = {"producer": self.producer.id}
        if occurred_at - now > CLOCK_AHEAD:
            return {**producer, "clock": "ahead"}
        if now - occurred_at > CLOCK_BEHIND:
            return {**producer, "clock": "behind"}
        return producer


def is_repeat(event: ForeignEvent, record: AuditRecord, stored_body: str) -> bool:
    """Return whether a stored body is the record of the same event.

    Members that the event leaves open, and that depend on the time of the call, may differ; so may
    fingerprints, which depend on the key.
    """
    try:
        stored = read_event(stored_body)
    except AuditBodyError:
        return False
    fresh = read_body(record.body())
    open_ = set() if event.occurred_at else {"occurred_at"}
    open_ |= set() if event.traceparent else {"trace_id", "span_id"}
    return all(
        _comparable(stored[name]) == _comparable(fresh[name])
        for name in _COMPARED
        if name not in open_
    )


def _comparable(value: object) -> object:
    """Return a value without fingerprints, and without the state of the clock at the first call."""
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("$redacted") is True:
        return {"$redacted": True}
    return {
        name: {"producer": item.get("producer")}
        if name == INGEST and isinstance(item, dict)
        else _comparable(item)
        for name, item in value.items()
    }


def _redacted(metadata: Mapping[str, Any], secrets: Secrets) -> dict[str, Json]:
    plain = {name: represent_json(value) for name, value in metadata.items()}
    found = redact_members("metadata", plain, secrets, None)
    assert isinstance(found, dict)  # noqa: S101 (redaction keeps the type)
    return found


def _redacted_changes(
    changes: Mapping[str, Mapping[str, Any]], secrets: Secrets, key: MacKey | None
) -> Changes:
    return {
        name: {
            side: _redacted_value(name, represent_json(sides[side]), secrets, key) for side in sides
        }
        for name, sides in changes.items()
    }


def _redacted_value(name: str, value: Json, secrets: Secrets, key: MacKey | None) -> Json:
    if secrets.is_secret(name, name):
        return redact(name, value, key)
    return redact_members(name, value, secrets, key)
