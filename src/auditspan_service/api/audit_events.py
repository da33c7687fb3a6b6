"""`/v1/audit-events`: read access to the trail."""

from __future__ import annotations

import re

from flask import Blueprint, Response, jsonify

from auditspan.storage import EventFilter, StoredEvent, find_events, get_event
from auditspan_service.api.auth import requires
from auditspan_service.api.current import services
from auditspan_service.api.pagination import page_response
from auditspan_service.api.query import page, parameters, trace_id
from auditspan_service.errors import NotFoundError

audit_events = Blueprint("audit_events", __name__, url_prefix="/v1/audit-events")

_KIND = "events"
_PARAMETERS = ("actor", "action", "target_type", "target_id", "trace_id", "limit", "cursor")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@audit_events.get("")
@requires("audit:read")
def search() -> Response:
    """Return a page of the events that match the filters, newest first."""
    given = parameters(_PARAMETERS)
    wanted = page(given, _KIND)
    filters = EventFilter(
        actor=given.get("actor"),
        action=given.get("action"),
        target_type=given.get("target_type"),
        target_id=given.get("target_id"),
        trace_id=trace_id(given),
    )
    tables = services().trail.tables
    found = services().database.search(
        lambda connection: find_events(
            connection, tables, filters, before=wanted.position, limit=wanted.limit + 1
        )
    )
    return page_response(
        found,
        wanted,
        kind=_KIND,
        row_id=lambda event: event.row_id,
        show=lambda event: event.resource(),
    )


@audit_events.get("/<event_id>")
@requires("audit:read")
def get(event_id: str) -> Response:
    """Return one event."""
    wanted = event_id.lower()
    if not _UUID.fullmatch(wanted):
        raise NotFoundError("No event has this id.")
    event = _find(wanted)
    if event is None:
        raise NotFoundError("No event has this id.")
    return jsonify(event.resource())


def _find(event_id: str) -> StoredEvent | None:
    """Return the event with this id, from the primary if the replica does not have it yet."""
    database, tables = services().database, services().trail.tables
    found = database.search(lambda connection: get_event(connection, tables, event_id))
    if found is None and database.replica:
        with database.reading() as session:
            found = get_event(session.connection(), tables, event_id)
    return found
