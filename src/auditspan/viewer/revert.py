"""Reverting one change: a page that asks for confirmation, and the form that it sends."""

from __future__ import annotations

from dataclasses import dataclass

from flask import abort, current_app, redirect, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from auditspan.context import audit_context
from auditspan.errors import AuditError, RevertError
from auditspan.reading import Event
from auditspan.viewer.csrf import form_fields, require_token
from auditspan.viewer.events import require_stored
from auditspan.viewer.rendering import history_url_of
from auditspan.viewer.status import read_status
from auditspan.viewer.viewer import Page, Viewer
from auditspan.viewer.wording import can_be_reverted

_MAX_REASON = 512
_FORBIDDEN = (
    "You may not revert changes. Ask the administrators of this application for permission."
)
_REFUSED = "The database did not accept the change, so nothing was reverted. Try again."
_NO_CHANGE = "Only a creation, an update or a deletion of one object can be reverted."


@dataclass(frozen=True, kw_only=True)
class Form:
    """Form of the page, as it was sent."""

    reason: str = ""
    force: bool = False


def revert_page(viewer: Viewer, connection: Connection, event_id: str) -> Page:
    """Show what reverting an event changes, with a form that does it."""
    _require_permission(viewer)
    return _page(viewer, connection, _required(viewer, connection, event_id), Form())


def revert(viewer: Viewer, event_id: str) -> Page | ResponseReturnValue:
    """Revert an event as the form says; show the page again if that is refused."""
    _require_permission(viewer)
    require_token()
    reason = request.form.get("reason", "").strip()[:_MAX_REASON]
    form = Form(reason=reason, force="force" in request.form)
    with viewer.connect() as connection:
        event = _required(viewer, connection, event_id)
    problem = _revert(viewer, event, form)
    if problem:
        with viewer.connect() as connection:
            return _page(viewer, connection, event, form, problem)
    return redirect(history_url_of(event), 303)


def _revert(viewer: Viewer, event: Event, form: Form) -> str:
    """Revert in a transaction of its own; return the problem, or an empty text."""
    try:
        with viewer.trail.new_session() as session, audit_context(reason=form.reason or None):
            viewer.trail.revert(session, event, force=form.force)
            session.commit()
    except RevertError as error:
        return error.sentence
    except (AuditError, SQLAlchemyError) as error:
        current_app.logger.warning(
            "event %s was not reverted: %s", event.event_id, type(error).__name__
        )
        return _REFUSED
    return ""


def _page(
    viewer: Viewer, connection: Connection, event: Event, form: Form, problem: str = ""
) -> Page:
    return Page(
        template="revert.html",
        values={
            "event": event,
            "form": form,
            "fields": form_fields(),
            "problem": problem,
            "status": read_status(connection, viewer.trail.tables),
        },
        viewed=None if problem else {"page": "revert", "event": event.event_id},
        status=409 if problem else 200,
    )


def _required(viewer: Viewer, connection: Connection, event_id: str) -> Event:
    stored = require_stored(connection, viewer.trail.tables, event_id)
    event = Event.from_resource(stored.resource())
    return event if can_be_reverted(event) else abort(404, _NO_CHANGE)


def _require_permission(viewer: Viewer) -> None:
    if not viewer.may_revert():
        abort(403, _FORBIDDEN)
