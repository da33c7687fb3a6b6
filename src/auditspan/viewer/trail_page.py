"""The trail: events newest first, filtered, paged and live."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import request
from sqlalchemy import Connection

from auditspan.context import current_context
from auditspan.errors import AuditConfigError
from auditspan.reading import Event, by_id_or_label
from auditspan.storage import AuditTables, EventFilter, Purge, begun_purge, find_events
from auditspan.viewer.query import Query, read_query
from auditspan.viewer.status import read_status
from auditspan.viewer.viewer import Page, Viewer

_PAGE = 50


@dataclass(frozen=True, kw_only=True)
class Line:
    """One event of the list."""

    row_id: int
    event: Event


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One page of the list.

    Attributes:
        lines: the events, newest first.
        older: the row id that the next page is before; None if there are no older events.
        purge: the purge that has removed older events; None if there are some, or was none.
    """

    lines: Sequence[Line]
    older: int | None = None
    purge: Purge | None = None

    @property
    def newest(self) -> int:
        """The row id of the newest event; 0 without events."""
        return self.lines[0].row_id if self.lines else 0

    @property
    def state(self) -> str:
        """A digest of all that can change in the list: its events and how far they have come."""
        seen = [(one.row_id, one.event.seq, one.event.delivered) for one in self.lines]
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


def trail_page(viewer: Viewer, connection: Connection) -> Page:
    """Show the events that match the query of the request."""
    tables = viewer.trail.tables
    status = read_status(connection, tables)
    try:
        query = read_query(request.args)
    except AuditConfigError as error:
        problem = error.sentence
        given = {name: value for name, value in request.args.items() if value}
        refused = Query(filters=given, wanted=EventFilter())
        values = {"query": refused, "listing": Listing(lines=()), "problem": problem}
        return Page(template="trail.html", values={**values, **_shared(viewer, status)}, status=400)
    return Page(
        template="trail.html",
        values={
            "query": query,
            "listing": find_lines(connection, tables, query),
            "problem": None,
            **_shared(viewer, status),
        },
        viewed={"page": "trail", "filters": dict(query.filters), "before": query.before},
    )


def tail(viewer: Viewer, connection: Connection) -> Page | None:
    """Return the list of a live page if it has changed; not recorded, as the page was.

    Raises:
        AuditConfigError: the query is invalid.
    """
    args = request.args.copy()
    seen, newest = args.pop("seen", ""), args.pop("newest", "0")
    query = read_query(args)
    listing = find_lines(connection, viewer.trail.tables, query)
    if listing.state == seen:
        return None
    known = int(newest) if re.fullmatch("[0-9]{1,19}", newest) else 0
    count = sum(one.row_id > known for one in listing.lines)
    status = read_status(connection, viewer.trail.tables)
    values = {"query": query, "listing": listing, "new": count, **_shared(viewer, status)}
    return Page(template="tail.html", values=values)


def find_lines(connection: Connection, tables: AuditTables, query: Query) -> Listing:
    """Return a page of the events that match."""
    wanted = by_id_or_label(connection, tables, query.wanted)
    found = find_events(connection, tables, wanted, before=query.before, limit=_PAGE + 1)
    lines = [
        Line(row_id=one.row_id, event=Event.from_resource(one.resource())) for one in found[:_PAGE]
    ]
    if len(found) > _PAGE:
        return Listing(lines=lines, older=lines[-1].row_id)
    return Listing(lines=lines, purge=begun_purge(connection, tables, since=wanted.since))


def _shared(viewer: Viewer, status: object) -> dict[str, Any]:
    context = current_context()
    actor = context.resolve_actor() if context else None
    today = datetime.now(UTC).date().isoformat()
    own_id = actor.id if actor else None
    return {"status": status, "today": today, "own_id": own_id, "denials": viewer.denials}
