"""`POST /v1/audit-events`: recording of events of other services."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, url_for

from auditspan import EventConflictError, IngestError, audit_context
from auditspan_service.accounts.scopes import ON_BEHALF_OF
from auditspan_service.api.auth import actor, require_scope, requires, tenant
from auditspan_service.api.body import json_body
from auditspan_service.api.current import services
from auditspan_service.api.event_schemas import EventBatch, NewEvent
from auditspan_service.api.problems import Problem
from auditspan_service.errors import FieldError
from auditspan_service.schemas import read

event_ingest = Blueprint("event_ingest", __name__, url_prefix="/v1/audit-events")


@event_ingest.post("")
@requires("audit:write")
def create() -> Response:
    """Record one event, or an array of events as a whole; a repeat is answered with 200."""
    members = json_body()
    if isinstance(members, list):
        items, is_new = _recorded(read(EventBatch, members).root, is_batch=True)
        response = jsonify({"items": items})
    else:
        (event,), is_new = _recorded([read(NewEvent, members)], is_batch=False)
        response = jsonify(event)
        response.headers["Location"] = url_for("audit_events.get", event_id=event["event_id"])
    response.status_code = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return response


def _recorded(events: Sequence[NewEvent], *, is_batch: bool) -> tuple[list[dict[str, Any]], bool]:
    """Record the events; return their resources, and whether any of them is new.

    Raises:
        Problem: an event is invalid, or its id is in use, or the key lacks a scope.
    """
    if any(event.on_behalf_of for event in events):
        require_scope(ON_BEHALF_OF)
    foreign = [one.foreign() for one in events]
    try:
        with audit_context(tenant=tenant()):
            receipts = services().trail.ingest(foreign, producer=actor())
    except IngestError as error:
        raise _refusal(error, is_batch=is_batch) from error
    return [one.event.resource() for one in receipts], any(one.is_new for one in receipts)


def _refusal(error: IngestError, *, is_batch: bool) -> Problem:
    kind = "event-conflict" if isinstance(error, EventConflictError) else "invalid-members"
    where = f"The event at index {error.index}" if is_batch else "The event"
    field = str(error.index) if is_batch else ""
    return Problem.of(
        kind,
        f"{where} was refused, and nothing was recorded: see errors.",
        errors=[FieldError(field=field, message=error.sentence)],
    )
