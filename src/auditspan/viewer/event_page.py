"""One event: its sentence, its changes, its context, and the proof that it is in the trail."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from auditspan.format import printable_json
from auditspan.reading import Event, Inclusion, read_inclusion
from auditspan.storage import AuditTables, EventFilter, StoredEvent, find_events
from auditspan.viewer.checkpoints import signature_of
from auditspan.viewer.events import require_stored
from auditspan.viewer.status import read_status
from auditspan.viewer.viewer import Page, Viewer

_NEAR = 100
"""Rows before and after an event among which its transaction is looked for: `tx_id` has no index,
and a transaction inserts its rows together."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Result of checking the inclusion of an event.

    Attributes:
        inclusion: the proof; None if no checkpoint covers the event yet.
        signature: `valid`, `unknown` without a public key, `unsigned`, or the problem.
    """

    inclusion: Inclusion | None
    signature: str

    @property
    def ok(self) -> bool:
        """True if the event is in the checkpoint, whose signature is valid if it can be checked."""
        return (
            self.inclusion is not None
            and self.inclusion.holds
            and self.signature in {"valid", "unknown", "unsigned"}
        )


def event_page(viewer: Viewer, connection: Connection, event_id: str) -> Page:
    """Show one event."""
    return _page(viewer, connection, event_id, "event")


def proof_page(viewer: Viewer, connection: Connection, event_id: str) -> Page:
    """Show one event with the result of checking its inclusion proof."""
    return _page(viewer, connection, event_id, "proof")


def _page(viewer: Viewer, connection: Connection, event_id: str, name: str) -> Page:
    tables = viewer.trail.tables
    stored = require_stored(connection, tables, event_id)
    event = Event.from_resource(stored.resource())
    check = _proof(viewer, connection, event) if name == "proof" else None
    return Page(
        template="event.html",
        values={
            "event": event,
            "proof": check,
            "json": printable_json(stored.resource(), indent=2),
            "body": stored.body,
            "link": viewer.trace_link,
            "may_revert": viewer.may_revert(),
            "siblings": _siblings(connection, tables, stored, event),
            "status": read_status(connection, tables),
        },
        viewed={"page": name, "event": event.event_id},
    )


def _siblings(
    connection: Connection, tables: AuditTables, stored: StoredEvent, event: Event
) -> list[Event]:
    """Return the other events of the transaction that are near in the trail, oldest first."""
    first = max(0, stored.row_id - _NEAR - 1)
    near = find_events(connection, tables, EventFilter(), after=first, limit=2 * _NEAR + 1)
    found = (Event.from_resource(one.resource()) for one in near if one.row_id != stored.row_id)
    return [one for one in found if one.tx_id == event.tx_id]


def _proof(viewer: Viewer, connection: Connection, event: Event) -> Proof:
    found = None
    if event.seq is not None:
        found = read_inclusion(connection, viewer.trail.tables, event.seq)
    if found is None:
        return Proof(inclusion=None, signature="unsigned")
    signature = signature_of(found.note, size=found.size, root=found.root, keys=viewer.public_keys)
    return Proof(inclusion=found, signature=signature)
