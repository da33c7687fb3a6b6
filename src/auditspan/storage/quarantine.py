"""Quarantine: records that a sink has refused, and has not accepted since.

`audit_quarantine` is append-only. If a sink accepts a record after all, because the sink was fixed
and the record was sent again, a second row is added under the name of the sink and ` (taken)`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, exists, literal, select

from auditspan.storage.insert import insert_counted
from auditspan.storage.tables import AuditTables

TAKEN = " (taken)"
"""The suffix of the sink name in the second row; no sink name ends with it."""

_REASON = "sent again, and acknowledged"
_CHUNK = 1000


def is_quarantined(
    tables: AuditTables, sink: ColumnElement[str], seq: ColumnElement[int]
) -> ColumnElement[bool]:
    """Return the condition that a sink refused a sequence number and has not accepted it since."""
    refused, taken = tables.quarantine, tables.quarantine.alias("taken")
    was_refused = exists().where(refused.c.sink == sink, refused.c.seq == seq)
    was_taken = exists().where(taken.c.sink == sink + TAKEN, taken.c.seq == seq)
    return was_refused.correlate_except(refused) & ~was_taken.correlate_except(taken)


def quarantined(
    connection: Connection, tables: AuditTables, sink: str, *, limit: int | None = None
) -> list[str]:
    """Return the event ids of records that this sink has refused, and has not accepted since."""
    refused = tables.quarantine.alias("refused")
    statement = (
        select(refused.c.event_id)
        .where(refused.c.sink == sink, is_quarantined(tables, literal(sink), refused.c.seq))
        .order_by(refused.c.seq)
        .limit(limit)
    )
    return list(connection.scalars(statement))


def mark_accepted(
    connection: Connection, tables: AuditTables, sink: str, event_ids: Sequence[str]
) -> int:
    """Record that this sink accepted these records; return the number that it had refused.

    The sink MUST have acknowledged the records, or hold them.
    """
    refused = tables.quarantine.alias("refused")
    count = 0
    for start in range(0, len(event_ids), _CHUNK):
        still = select(refused.c.seq, refused.c.event_id).where(
            refused.c.sink == sink,
            refused.c.event_id.in_(event_ids[start : start + _CHUNK]),
            is_quarantined(tables, literal(sink), refused.c.seq),
        )
        noted = [
            {"sink": sink + TAKEN, "seq": row.seq, "event_id": row.event_id, "reason": _REASON}
            for row in connection.execute(still)
        ]
        for one in noted:
            insert_counted(connection, tables.quarantine, one)
        count += len(noted)
    return count
