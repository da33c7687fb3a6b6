"""Queries of audit rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    exists,
    func,
    select,
)

from auditspan.format import (
    COLUMNS,
    in_change_order,
    may_have_commitments,
)
from auditspan.storage.column_forms import IsCounted, StoredText, UtcText, plain_text
from auditspan.storage.disclosures import read_disclosures
from auditspan.storage.event_filter import EventFilter
from auditspan.storage.nearby import near_rows, rows_of_times
from auditspan.storage.quarantine import is_quarantined
from auditspan.storage.stored_event import StoredEvent
from auditspan.storage.tables import LEASE_PREFIX, AuditTables

_PAGE = 500
"""The number of events of a history that are read at once."""

_EXPORTED = 100
"""The number of events of an export that are read at once; each may have 64 KiB."""


def find_events(
    connection: Connection,
    tables: AuditTables,
    wanted: EventFilter,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> list[StoredEvent]:
    """Return events newest first, or with `after` oldest first.

    Args:
        connection: the connection to read from.
        tables: the audit tables.
        wanted: the filter.
        before: return only rows with a smaller `row_id` (the keyset cursor of a list).
        after: return only rows with a larger `row_id`, oldest first (the cursor of a follower).
        limit: the maximum number of events.
    """
    found: list[StoredEvent] = []
    size = limit
    while len(found) < limit:
        page = _page(connection, tables, wanted, before=before, after=after, limit=size)
        found += [one for one in page if not wanted.needs_body or wanted.matches(one.resource())]
        if len(page) < size:
            break
        size = max(size, min(2 * size, _PAGE))  # most rows of a page may be excluded
        before, after = (None, page[-1].row_id) if after is not None else (page[-1].row_id, None)
    return found[:limit]


def _page(
    connection: Connection,
    tables: AuditTables,
    wanted: EventFilter,
    *,
    before: int | None,
    after: int | None,
    limit: int,
) -> list[StoredEvent]:
    event = tables.event
    page = _events(tables).limit(limit)
    if after is not None:
        newer = page.where(*wanted.conditions(event), event.c.id > after)
        return _read(connection, tables, newer.order_by(event.c.id))
    page = page.order_by(event.c.id.desc())
    older = [*rows_of_times(event, wanted, before)]
    if before is not None:
        older.append(event.c.id < before)
    if not wanted.has_terms:
        return _read(connection, tables, page.where(*older, *wanted.conditions(event)))
    in_text = wanted.conditions(event, by_index=False)
    found = _read(connection, tables, page.where(near_rows(event, before), *older, *in_text))
    if len(found) == limit:
        return found
    # The index has no order: the ids are sorted before anything else is read of their rows.
    ids = select(event.c.id).where(*older, *wanted.conditions(event))
    newest = ids.order_by(event.c.id.desc()).limit(limit).subquery()
    return _read(connection, tables, page.where(event.c.id.in_(select(newest.c.id))))


def _read(connection: Connection, tables: AuditTables, statement: Select[Any]) -> list[StoredEvent]:
    """Read events, and the disclosures of all of them together."""
    found = [_stored(row) for row in connection.execute(statement)]
    erasable = [one for one in found if may_have_commitments(one.body)]
    if not erasable:
        return found
    ids = (str(one.event_id) for one in erasable)
    disclosures = read_disclosures(connection, tables, ids)
    return [
        replace(
            one, disclosures={d.sha256: d.text for d in disclosures.get(one.event_id or "", ())}
        )
        for one in found
    ]


def sealed_page(
    connection: Connection, tables: AuditTables, wanted: EventFilter, *, after: int, size: int
) -> tuple[list[StoredEvent], int | None]:
    """Return the next events of an export, in sequence order.

    Args:
        connection: the connection to read from.
        tables: the audit tables.
        wanted: the filter.
        after: the last sequence number of the page before, or -1.
        size: the size of the tree; later events are left out.

    Returns:
        The events that match, and `after` for the next page; None if this is the last.
    """
    seq = tables.leaf.c.seq
    statement = _events(tables).where(*wanted.conditions(tables.event), seq > after, seq < size)
    page = _read(connection, tables, statement.order_by(seq).limit(_EXPORTED))
    found = [one for one in page if not wanted.needs_body or wanted.matches(one.resource())]
    return found, page[-1].seq if len(page) == _EXPORTED else None


def history(
    connection: Connection,
    tables: AuditTables,
    target_type: str,
    target_id: str,
    *,
    tenant: str | None = None,
) -> list[StoredEvent]:
    """Return every event of one target, in the order in which the changes happened.

    With a tenant, return only its events.

    A change that the worker recorded late is at its actual position, even if newer changes were
    recorded before it.
    """
    wanted = EventFilter(target_type=target_type, target_id=target_id, tenant=tenant)
    found: list[StoredEvent] = []
    while page := find_events(
        connection, tables, wanted, after=found[-1].row_id if found else 0, limit=_PAGE
    ):
        found += page
    return in_change_order(found, StoredEvent.change_id)


def row_ids(connection: Connection, tables: AuditTables, after: int) -> set[int]:
    """Return the ids of the rows after this one."""
    id_ = tables.event.c.id
    return set(connection.scalars(select(id_).where(id_ > after)))


def get_event(connection: Connection, tables: AuditTables, event_id: str) -> StoredEvent | None:
    """Return the event with this id, or None; the first of several in a partitioned trail."""
    statement = _events(tables).where(tables.event.c.event_id == event_id)
    first = statement.order_by(tables.event.c.id).limit(1)
    return next(iter(_read(connection, tables, first)), None)


def event_at(connection: Connection, tables: AuditTables, seq: int) -> StoredEvent | None:
    """Return the event with this sequence number, or None."""
    statement = _events(tables).where(tables.leaf.c.seq == seq).limit(1)
    return next(iter(_read(connection, tables, statement)), None)


def get_events(
    connection: Connection, tables: AuditTables, event_ids: Sequence[str]
) -> dict[str, StoredEvent]:
    """Return the events with these ids, by id; the first of several in a partitioned trail."""
    if not event_ids:
        return {}
    event = tables.event.c
    statement = _events(tables).where(event.event_id.in_(event_ids)).order_by(event.id.desc())
    return {str(one.event_id): one for one in _read(connection, tables, statement)}


def _events(tables: AuditTables) -> Select[Any]:
    event, leaf = tables.event, tables.leaf
    # As text: after tampering, columns may hold values that Python cannot represent.
    return select(
        event.c.id,
        StoredText(event.c.body).label("body"),
        UtcText(event.c.recorded_at).label("recorded_at"),
        case((IsCounted(leaf.c.seq), leaf.c.seq)).label("seq"),
        _delivered(tables),
        StoredText(event.c.mac).label("mac"),
        *(plain_text(event.c[name]).label(f"plain_{name}") for name in COLUMNS),
    ).select_from(event.outerjoin(leaf, leaf.c.row_id == event.c.id))


def _delivered(tables: AuditTables) -> ColumnElement[bool]:
    """Return the condition that at least one sink acknowledged the row and has not refused it.

    A cursor beyond the newest row is ignored, as in `Cursors.within`.
    """
    leaf, delivery, sealed = tables.leaf, tables.delivery.c, tables.leaf.alias("sealed")
    newest = select(func.max(sealed.c.seq)).scalar_subquery()
    refused = is_quarantined(tables, delivery.sink, leaf.c.seq)
    sent = exists().where(
        case(
            (and_(delivery.sent_seq <= newest, delivery.safe_seq <= newest), delivery.sent_seq),
            (delivery.safe_seq <= newest, delivery.safe_seq),
        )
        >= leaf.c.seq,
        ~delivery.sink.startswith(LEASE_PREFIX),
        ~refused,
    )
    return func.coalesce(sent.correlate(leaf), False).label("delivered")


def _stored(row: Row[Any]) -> StoredEvent:
    return StoredEvent(
        row_id=row.id,
        body=row.body,
        recorded_at=row.recorded_at,
        columns=tuple(row)[-len(COLUMNS) :],
        seq=row.seq,
        delivered=bool(row.delivered),
        mac=row.mac,
    )
