"""Search of the trail, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session

from auditspan.reading.event import Event
from auditspan.reading.history import History
from auditspan.storage import AuditTables, EventFilter, find_events, labelled, purge_before
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


def read_history(source: Source, tables: AuditTables, target_type: str, target_id: str) -> History:
    """Return the events of one target, in the order in which the changes happened."""
    connection = _connection(source)
    found = stored_history(connection, tables, target_type, target_id)
    events = (Event.from_resource(one.resource()) for one in found)
    purged = purge_before(connection, tables, found[0] if found else None)
    return History(events, purged=purged)


def by_id_or_label(connection: Connection, tables: AuditTables, wanted: EventFilter) -> EventFilter:
    """Return the filter with the actor as a label where no event has an actor of this id.

    An erasable label, also of `on_behalf_of`, stands for the id until it is erased. The same holds
    for excluded ones. With a tenant, only its events count.
    """
    if wanted.exclude is not None:
        excluded = replace(wanted.exclude, tenant=wanted.tenant)
        excluded = by_id_or_label(connection, tables, excluded)
        wanted = replace(wanted, exclude=replace(excluded, tenant=wanted.exclude.tenant))
    if wanted.on_behalf_of is not None:
        id_ = labelled(connection, tables, "on_behalf_of", wanted.on_behalf_of, wanted.tenant)
        wanted = replace(wanted, on_behalf_of=id_ or wanted.on_behalf_of)
    return wanted if wanted.actor is None else _by_actor(connection, tables, wanted, wanted.actor)


def _by_actor(
    connection: Connection, tables: AuditTables, wanted: EventFilter, actor: str
) -> EventFilter:
    if find_events(connection, tables, EventFilter(actor=actor, tenant=wanted.tenant), limit=1):
        return wanted
    id_ = labelled(connection, tables, "actor", actor, wanted.tenant)
    if id_ is not None:
        return replace(wanted, actor=id_)
    return replace(wanted, actor=None, actor_label=actor)


def _connection(source: Source) -> Connection:
    return source if isinstance(source, Connection) else source.connection()
