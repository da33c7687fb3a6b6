"""Erasure of the values of one subject, recorded as an event."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from auditspan.capture import Capture, busy, drain_now
from auditspan.format import SUBJECT_ERASED, Subject, Target
from auditspan.storage import count_erasable, lock_subject, remove_disclosures


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """Result of an erasure.

    Attributes:
        subject_type, subject_id: the subject.
        values: the number of erased values; in a dry run, of those that would be erased.
        events: the number of events that have them.
        event_id: the event that records the erasure; None for a dry run, and if nothing was left.
    """

    subject_type: str
    subject_id: str
    values: int
    events: int
    event_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def erase_subject(
    connection: Connection,
    capture: Capture,
    subject: Subject,
    *,
    reason: str | None,
    dry_run: bool,
) -> Erasure:
    """Erase the values of a subject in the running transaction; see `AuditTrail.erase`."""
    drain_now(connection)
    if not dry_run:
        with busy(connection):
            lock_subject(connection, subject)
    found = count_erasable(connection, capture.tables, subject)
    event_id = None
    if found.values and not dry_run:
        # The event is recorded first: its own actor may be the subject.
        event_id = _record(connection, capture, subject, reason, found.values)
        with busy(connection):
            remove_disclosures(connection, capture.tables, subject)
    return Erasure(
        subject_type=subject.type,
        subject_id=subject.id,
        values=found.values,
        events=found.events,
        event_id=event_id,
    )


def _record(
    connection: Connection, capture: Capture, subject: Subject, reason: str | None, values: int
) -> str:
    record = capture.recorder.record(
        SUBJECT_ERASED,
        tx_id=capture.tx_id(connection),
        target=Target(type=subject.type, id=subject.id),
        reason=reason,
        metadata={"values": values},
    )
    capture.write(connection, [record])
    return record.event_id
