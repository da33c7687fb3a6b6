"""Unsealed rows on SQLite, which has one writer at a time: ids commit in order."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, ScalarSelect, exists, func, insert, select

from auditspan.seal.unsealed import Position, UnsealedRow
from auditspan.storage import AuditTables, IsCounted, StoredText, UtcText


def fresh_rows(
    connection: Connection, tables: AuditTables, position: Position, limit: int
) -> tuple[Sequence[UnsealedRow], Position]:
    """Return the rows above the newest sealed id."""
    passed = tables.event.c.id > _newest(tables)
    return _read(connection, tables, passed, limit), position


def missed_rows(
    connection: Connection, tables: AuditTables, _position: Position, limit: int
) -> Sequence[UnsealedRow]:
    """Return the rows without a leaf below the newest sealed id."""
    event, leaf = tables.event.c, tables.leaf.c
    has_no_leaf = ~exists().where(leaf.row_id == event.id)
    return _read(connection, tables, (event.id <= _newest(tables)) & has_no_leaf, limit)


def count_unsealed(
    connection: Connection, tables: AuditTables, most: int
) -> tuple[int, int | None]:
    """Count the rows above the newest sealed id."""
    id_ = tables.event.c.id
    some = select(id_).where(id_ > _newest(tables)).order_by(id_).limit(most).subquery()
    rows, first = connection.execute(
        select(func.count(), func.min(some.c.id)).select_from(some)
    ).one()
    return rows, first


def insert_leaves(
    connection: Connection,
    tables: AuditTables,
    first: int,
    rows: Sequence[UnsealedRow],
    leaves: Sequence[bytes],
) -> None:
    """Insert a leaf for each row."""
    made = [
        {"seq": seq, "row_id": row.id, "event_id": row.event_id, "leaf_hash": leaf}
        for seq, (row, leaf) in enumerate(zip(rows, leaves, strict=True), start=first)
    ]
    connection.execute(insert(tables.leaf), made)


def _newest(tables: AuditTables) -> ScalarSelect[int]:
    row_id = tables.leaf.c.row_id
    return select(func.coalesce(func.max(row_id), 0)).where(IsCounted(row_id)).scalar_subquery()


def _read(
    connection: Connection, tables: AuditTables, condition: ColumnElement[bool], limit: int
) -> list[UnsealedRow]:
    event = tables.event.c
    known = (StoredText(event.event_id), UtcText(event.recorded_at))
    texts = (StoredText(column) for column in (event.body, event.mac, event.mac_key_id))
    statement = select(event.id, *known, *texts).where(condition).order_by(event.id).limit(limit)
    return [UnsealedRow._make(row) for row in connection.execute(statement)]
