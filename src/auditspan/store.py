"""Reading and writing audit rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, exists, func, select

from auditspan.canonical import Json, timestamp
from auditspan.columns import COLUMNS
from auditspan.inserting import insert_rows
from auditspan.mac import MacKey
from auditspan.quarantine import is_quarantined
from auditspan.record import AuditRecord
from auditspan.tables import AuditTables

_COLUMNS = (*COLUMNS, "body", "mac", "mac_key_id")
"""What a row is given; the rest of it is the database's."""


def insert_records(
    connection: Connection,
    tables: AuditTables,
    records: Sequence[AuditRecord],
    key: MacKey | None,
) -> None:
    """Write the rows of these records in this order, in as few statements as the driver allows."""
    insert_rows(connection, tables.event, _COLUMNS, [_row(record, key) for record in records])


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Which events to read; what is None is not asked for."""

    actor: str | None = None
    action: str | None = None
    target_type: str | None = None
    target_id: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class StoredEvent:
    """One row of the trail with what the workers have made of it."""

    row_id: int
    body: str
    recorded_at: datetime
    seq: int | None
    delivered: bool

    def resource(self) -> dict[str, Json]:
        """The event resource: the body's members, `seq`, `recorded_at` and `delivered`."""
        return {
            **json.loads(self.body),
            "seq": self.seq,
            "recorded_at": timestamp(self.recorded_at),
            "delivered": self.delivered,
        }


def find_events(  # noqa: PLR0913 (a filter and two cursors)
    connection: Connection,
    tables: AuditTables,
    wanted: EventFilter,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> list[StoredEvent]:
    """Events newest first, or with `after` oldest first.

    Args:
        connection: where to read.
        tables: the audit tables.
        wanted: the filter.
        before: only rows with a smaller `row_id` (the keyset cursor of a list).
        after: only rows with a larger `row_id`, oldest first (the cursor of a follower).
        limit: how many at most.
    """
    event = tables.event
    statement = _events(tables).where(*_conditions(tables, wanted)).limit(limit)
    if before is not None:
        statement = statement.where(event.c.id < before)
    if after is not None:
        statement = statement.where(event.c.id > after).order_by(event.c.id)
    else:
        statement = statement.order_by(event.c.id.desc())
    return [_stored(row) for row in connection.execute(statement)]


def get_event(connection: Connection, tables: AuditTables, event_id: str) -> StoredEvent | None:
    """The event of this id, or None; of several, which a partitioned trail may have, the first."""
    statement = _events(tables).where(tables.event.c.event_id == event_id)
    row = connection.execute(statement.order_by(tables.event.c.id).limit(1)).one_or_none()
    return _stored(row) if row else None


def _row(record: AuditRecord, key: MacKey | None) -> list[Any]:
    """The values of a record's row, in the order of `_COLUMNS`."""
    body = record.body()
    actor, target = record.actor, record.target
    return [
        record.event_id,
        record.occurred_at,
        actor.type,
        actor.id,
        record.action,
        record.outcome,
        target.type if target else None,
        target.id if target else None,
        record.trace_id,
        record.span_id,
        record.tx_id,
        record.tenant,
        body,
        key.sign(body) if key else None,
        key.key_id if key else None,
    ]


def _events(tables: AuditTables) -> Select[Any]:
    event, leaf = tables.event, tables.leaf
    return select(
        event.c.id, event.c.body, event.c.recorded_at, leaf.c.seq, _delivered(tables)
    ).select_from(event.outerjoin(leaf, leaf.c.row_id == event.c.id))


def _delivered(tables: AuditTables) -> ColumnElement[bool]:
    """Acknowledged by at least one sink, and not refused by all.

    A cursor beyond the newest row is not believed, as in `Cursors.within`.
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
        ~refused,
    )
    return func.coalesce(sent.correlate(leaf), False).label("delivered")


def _conditions(tables: AuditTables, wanted: EventFilter) -> list[ColumnElement[bool]]:
    columns = tables.event.c
    pairs = [
        (columns.actor_id, wanted.actor),
        (columns.action, wanted.action),
        (columns.target_type, wanted.target_type),
        (columns.target_id, wanted.target_id),
        (columns.trace_id, wanted.trace_id),
    ]
    return [column == value for column, value in pairs if value is not None]


def _stored(row: Row[Any]) -> StoredEvent:
    return StoredEvent(
        row_id=row.id,
        body=row.body,
        recorded_at=row.recorded_at,
        seq=row.seq,
        delivered=bool(row.delivered),
    )
