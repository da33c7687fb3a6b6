"""What has been delivered to a sink, as the database remembers it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, func, insert, select, update

from auditspan.logrecord import SealedRow
from auditspan.tables import AuditTables

NOTHING = -1
"""The cursor before the first row; sequence numbers begin at 0."""


@dataclass(frozen=True, kw_only=True)
class Cursors:
    """How far a sink has come.

    Attributes:
        sent: the last sequence number that the sink acknowledged.
        safe: the last one that it acknowledged long enough ago, with no transport error since, to
            believe that it survived whatever happened to the sink.
    """

    sent: int = NOTHING
    safe: int = NOTHING


def load_cursors(connection: Connection, tables: AuditTables, sink: str) -> Cursors:
    """The cursors of a sink; both before the first row where it is new."""
    table = tables.delivery
    row = connection.execute(
        select(table.c.sent_seq, table.c.safe_seq).where(table.c.sink == sink)
    ).one_or_none()
    return Cursors(sent=row.sent_seq, safe=row.safe_seq) if row else Cursors()


def save_cursors(connection: Connection, tables: AuditTables, sink: str, cursors: Cursors) -> None:
    """Remember how far a sink has come."""
    table = tables.delivery
    values = {
        "sent_seq": cursors.sent,
        "safe_seq": cursors.safe,
        "updated_at": datetime.now(UTC),
    }
    known = connection.execute(update(table).where(table.c.sink == sink).values(values))
    if known.rowcount == 0:
        connection.execute(insert(table).values(sink=sink, **values))


def sealed_rows(
    connection: Connection, tables: AuditTables, after: int, *, limit: int, max_bytes: int
) -> list[SealedRow]:
    """The next rows in sequence order: at most `limit`, and about `max_bytes` of bodies."""
    event, leaf = tables.event.c, tables.leaf.c
    statement = (
        select(leaf.seq, event.event_id, event.recorded_at, event.body, event.mac)
        .join(tables.event, event.id == leaf.row_id)
        .where(leaf.seq > after)
        .order_by(leaf.seq)
        .limit(limit)
    )
    rows: list[SealedRow] = []
    size = 0
    for row in connection.execute(statement):
        size += len(row.body)
        if rows and size > max_bytes:
            break
        rows.append(SealedRow(**row._mapping))  # noqa: SLF001 (the documented mapping of a Row)
    return rows


def newest_seq(connection: Connection, tables: AuditTables) -> int:
    """The last sequence number that has been given; `NOTHING` where there is none."""
    newest = connection.execute(select(func.max(tables.leaf.c.seq))).scalar_one()
    return NOTHING if newest is None else int(newest)


def quarantine(
    connection: Connection, tables: AuditTables, sink: str, row: SealedRow, reason: str
) -> None:
    """Set a record aside that the sink refuses, so that the rest flows; it stays undelivered."""
    table = tables.quarantine
    known = select(table.c.seq).where(table.c.sink == sink, table.c.seq == row.seq)
    if connection.execute(known).first() is None:
        values = {"sink": sink, "seq": row.seq, "event_id": row.event_id, "reason": reason}
        connection.execute(insert(table).values(values))
