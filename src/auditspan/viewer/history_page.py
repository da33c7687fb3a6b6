"""History of one target: all that happened to it, newest first, and its state at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import abort, request
from sqlalchemy import Connection
from sqlalchemy.exc import StatementError

from auditspan.errors import AuditBodyError, AuditConfigError
from auditspan.format import Target, in_change_order
from auditspan.reading import Event
from auditspan.reading.states import State
from auditspan.storage import EventFilter, StoredEvent, begun_purge, find_events, purge_before
from auditspan.viewer.events import find_event
from auditspan.viewer.query import read_time
from auditspan.viewer.status import read_status
from auditspan.viewer.viewer import Page, Viewer

_MOST = 200
"""Events that are shown; the trail page has all of them."""

_MAX_LENGTH = 64
_NO_KEY = "The database has no object with this id: it is not of the type of the primary key."


@dataclass(frozen=True, kw_only=True)
class Moment:
    """State of the target at a time that was asked for.

    Attributes:
        asked: the time, or the id of the event after which the state is shown.
        event: that event.
        state: the state; None if the object did not exist, or with a problem.
        problem: the reason why the state is not known.
    """

    asked: str
    event: Event | None = None
    state: State | None = None
    problem: str = ""


def history_page(viewer: Viewer, connection: Connection, target_type: str, target_id: str) -> Page:
    """Show the newest events of a target, in the order in which the changes happened."""
    tables = viewer.trail.tables
    target = Target(type=target_type, id=target_id)
    wanted = EventFilter(target_type=target_type, target_id=target_id)
    is_text = "\0" not in f"{target_type}{target_id}"  # PostgreSQL refuses it in a query, too
    found = find_events(connection, tables, wanted, limit=_MOST + 1) if is_text else []
    if not found:
        purge = begun_purge(connection, tables)
        note = f" Earlier events were removed by retention: {purge.sentence}." if purge else ""
        abort(404, f"The trail has no event of {target_type} {target_id}.{note}")
    ordered = in_change_order(list(reversed(found[:_MOST])), StoredEvent.change_id)
    asked = _requested_time()
    return Page(
        template="history.html",
        values={
            "target": target,
            "events": [Event.from_resource(one.resource()) for one in reversed(ordered)],
            "is_cut": len(found) > _MOST,
            "purge": purge_before(connection, tables, ordered[0]),
            "moment": _moment(viewer, connection, target, asked) if asked else None,
            "may_revert": viewer.may_revert(),
            "status": read_status(connection, tables),
        },
        viewed={
            "page": "history",
            "target": {"type": target_type, "id": target_id},
            **({"at": asked} if asked else {}),
        },
    )


def _requested_time() -> str:
    asked = request.args.get("at", "").strip()
    if len(asked) > _MAX_LENGTH or not asked.isprintable():
        abort(400, "Invalid time: expected one such as 2026-01-31T12:00Z, or the id of an event.")
    return asked


def _moment(viewer: Viewer, connection: Connection, target: Target, asked: str) -> Moment:
    event = find_event(connection, viewer.trail.tables, asked)
    try:
        when: datetime | Event = event or read_time("time", asked)
        with connection.begin_nested():
            state = viewer.trail.as_of(connection, target, None, when)
    except (AuditConfigError, AuditBodyError) as error:
        return Moment(asked=asked, event=event, problem=error.sentence)
    except StatementError:
        return Moment(asked=asked, event=event, problem=_NO_KEY)
    return Moment(asked=asked, event=event, state=state)
