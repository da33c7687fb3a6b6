"""Events by their id."""

from __future__ import annotations

import re

from flask import abort
from sqlalchemy import Connection

from auditspan.reading import Event
from auditspan.storage import AuditTables, StoredEvent, get_event, purge_of

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def require_stored(connection: Connection, tables: AuditTables, event_id: str) -> StoredEvent:
    """Return an event as it is stored, or answer 404, or 410 if retention removed it."""
    found = _stored(connection, tables, event_id)
    if found is None and (purge := purge_of(connection, tables, event_id.lower())):
        abort(410, f"This event was removed by retention: {purge.sentence}.")
    return found or abort(404, "No event has this id.")


def find_event(connection: Connection, tables: AuditTables, event_id: str) -> Event | None:
    """Return an event; None if none has this id."""
    found = _stored(connection, tables, event_id)
    return Event.from_resource(found.resource()) if found else None


def _stored(connection: Connection, tables: AuditTables, event_id: str) -> StoredEvent | None:
    wanted = event_id.lower()
    return get_event(connection, tables, wanted) if _UUID.fullmatch(wanted) else None
