"""History of one target: all that happened to it, newest first."""

from __future__ import annotations

from flask import abort
from sqlalchemy import Connection

from auditspan.format import Target, in_change_order
from auditspan.reading import Event
from auditspan.storage import EventFilter, StoredEvent, find_events
from auditspan.viewer.status import read_status
from auditspan.viewer.viewer import Page, Viewer

_MOST = 200
"""Events that are shown; the trail page has all of them."""


def history_page(viewer: Viewer, connection: Connection, target_type: str, target_id: str) -> Page:
    """Show the newest events of a target, in the order in which the changes happened."""
    tables = viewer.trail.tables
    wanted = EventFilter(target_type=target_type, target_id=target_id)
    found = find_events(connection, tables, wanted, limit=_MOST + 1)
    if not found:
        abort(404, f"The trail has no event of {target_type} {target_id}.")
    ordered = in_change_order(list(reversed(found[:_MOST])), StoredEvent.change_id)
    return Page(
        template="history.html",
        values={
            "target": Target(type=target_type, id=target_id),
            "events": [Event.from_resource(one.resource()) for one in reversed(ordered)],
            "is_cut": len(found) > _MOST,
            "status": read_status(connection, tables),
        },
        viewed={"page": "history", "target": {"type": target_type, "id": target_id}},
    )
