"""`/v1/retention`: the rows that a purge could remove, for those who purge."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from auditspan import RetentionError
from auditspan.trail.settings import sink_names
from auditspan_service.accounts.scopes import PURGE
from auditspan_service.api.auth import requires
from auditspan_service.api.current import services
from auditspan_service.api.query import malformed, parameters, time

retention = Blueprint("retention", __name__, url_prefix="/v1/retention")


@retention.get("")
@requires(PURGE)
def plan() -> Response:
    """Return which rows are old enough, and what keeps the others; nothing is removed.

    A purge is authorised by the command `auditspan retain`, which verifies the whole trail first.
    """
    given = parameters(("before",))
    if "before" not in given:
        raise malformed("before is required: a time (ISO 8601), as in 2026-01-31T12:00:00Z.")
    sinks = sink_names(services().settings)
    own = services().trail.retention.with_mac_keys(services().mac_keys)
    try:
        found = own.plan(time("before", given["before"]), sinks=sinks)
    except RetentionError as error:
        raise malformed(f"{error.message[:1].upper()}{error.message[1:]}.") from error
    return jsonify(found.resource())
