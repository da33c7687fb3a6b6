"""`/v1/history/<type>/<id>`: everything that happened to one object."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from auditspan.storage import history as read_history
from auditspan.storage import purge_before
from auditspan_service.api.auth import requires, tenant
from auditspan_service.api.current import services
from auditspan_service.api.query import parameters
from auditspan_service.errors import NotFoundError

history = Blueprint("history", __name__, url_prefix="/v1/history")


@history.get("/<type>/<path:id>")
@requires("audit:read")
def get(type: str, id: str) -> Response:
    """Return the events of an object in the order in which its changes happened."""
    parameters(())
    tables = services().trail.tables
    own = tenant()
    search = services().database.search
    found = search(lambda connection: read_history(connection, tables, type, id, tenant=own))
    if not found:
        raise NotFoundError("No event has this target.")
    # Purged events no longer have a tenant, so a key of a tenant learns nothing about them.
    purge = own is None and search(lambda one: purge_before(one, tables, found[0]))
    items = [event.resource() for event in found]
    return jsonify({"items": items, "next": None, "purged": purge.resource() if purge else None})
