"""Search of the trail, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session

from auditspan.reading.event import Event
from auditspan.storage import AuditTables, EventFilter, actor_labelled, find_events
from auditspan.storage import history as stored_history

Source = Session | scoped_session[Session] | Connection
"""Where the trail is read."""

PAGE = 500
"""Rows that are read together."""


def read_events(source: Source, tables: AuditTables, wanted: EventFilter) -> Iterator[Event]:
    """Yield the events that match, newest first; rows are read as they are asked for.

    The actor is matched by id, or by label where no event has an actor of this id.
    """
    connection, before = _connection(source), None
    wanted = by_id_or_label(connection, tables, wanted)
    while page := find_events(connection, tables, wanted, before=before, limit=PAGE):
        yield from (Event.from_resource(one.resource()) for one in page)
        before = page[-1].row_id


def read_history(
    source: Source, tables: AuditTables, target_type: str, target_id: str
) -> list[Event]:
    """Return the events of one target, in the order in which the changes happened."""
    found = stored_history(_connection(source), tables, target_type, target_id)
    return [Event.from_resource(one.resource()) for one in found]


def by_id_or_label(connection: Connection, tables: AuditTables, wanted: EventFilter) -> EventFilter:
    """Return the filter with the actor as a label where no event has an actor of this id.

    An erasable label stands for the id of its actor, until it is erased.
    The same holds for an excluded actor. With a tenant, only its events count.
    """
    if wanted.exclude is not None:
        excluded = _excluded(connection, tables, wanted.exclude, wanted.tenant)
        wanted = replace(wanted, exclude=excluded)
    if wanted.actor is None or find_events(
        connection, tables, EventFilter(actor=wanted.actor, tenant=wanted.tenant), limit=1
    ):
        return wanted
    labelled = actor_labelled(connection, tables, wanted.actor)
    if labelled is not None:
        return replace(wanted, actor=labelled)
    return replace(wanted, actor=None, actor_label=wanted.actor)


def _excluded(
    connection: Connection, tables: AuditTables, exclude: EventFilter, tenant: str | None
) -> EventFilter:
    """Return the exclusions with the actor as an id or a label, of the events of this tenant."""
    asked = EventFilter(actor=exclude.actor, tenant=tenant)
    named = by_id_or_label(connection, tables, asked)
    return replace(exclude, actor=named.actor, actor_label=named.actor_label)


def _connection(source: Source) -> Connection:
    return source if isinstance(source, Connection) else source.connection()
