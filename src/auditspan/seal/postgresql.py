"""Unsealed rows on PostgreSQL, where ids become visible out of order.

A cursor on `id` would miss rows. Instead, the rows are selected that have become visible since the
last checkpoint's snapshot: rows of transactions that had not begun then, or were running then
(design §5, measured).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, TextClause, text

from auditspan.seal.unsealed import Backlog, Position, UnsealedRow, last_position
from auditspan.storage import AuditTables
from auditspan.tlog import HASH_BYTES

_FRESH = "1:1:"
"""The earliest snapshot, for the first pass and after a cluster was restored."""

_COLUMNS = r"""
    e.id, CAST(e.event_id AS text),
    coalesce(to_char(e.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24\:MI\:SS.US"Z"'),
             CAST(e.recorded_at AS text)),
    e.body, e.mac, e.mac_key_id
"""

_VISIBLE_SINCE = text(
    f"""
    SELECT {_COLUMNS} FROM (
        SELECT e.* FROM audit_event e
         WHERE e.xact_id >= pg_snapshot_xmax(CAST(:prev AS pg_snapshot))
        UNION ALL
        SELECT e.* FROM audit_event e
         WHERE e.xact_id = ANY (ARRAY(SELECT pg_snapshot_xip(CAST(:prev AS pg_snapshot))))
    ) e
    WHERE NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.row_id = e.id)
    ORDER BY e.id LIMIT :limit
    """  # noqa: S608 (no input)
)
_VISIBLE_SINCE_ABOVE = text(
    f"""
    SELECT {_COLUMNS} FROM (
        (SELECT e.* FROM audit_event e
          WHERE e.xact_id >= pg_snapshot_xmax(CAST(:prev AS pg_snapshot)) AND e.id > :floor
            AND NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.row_id = e.id)
          ORDER BY e.id LIMIT :limit)
        UNION ALL
        SELECT e.* FROM audit_event e
         WHERE e.xact_id = ANY (ARRAY(SELECT pg_snapshot_xip(CAST(:prev AS pg_snapshot))))
           AND e.id > :floor
           AND NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.row_id = e.id)
    ) e
    ORDER BY e.id LIMIT :limit
    """  # noqa: S608 (no input)
)
"""The same, above an id: nearly every row of a backlog is wanted in id order, so the first LIMIT
ends a scan by id. Without an id to start at, that scan could start years back."""

_MISSED = text(
    f"""
    SELECT {_COLUMNS} FROM audit_event e
    WHERE (e.xact_id IS NULL OR pg_visible_in_snapshot(e.xact_id, CAST(:prev AS pg_snapshot)))
      AND NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.row_id = e.id)
    ORDER BY e.id LIMIT :limit
    """  # noqa: S608 (no input)
)
_SNAPSHOT = text(
    """
    SELECT CAST(cur AS text) AS cur,
           pg_snapshot_xmax(CAST(:prev AS pg_snapshot)) > pg_snapshot_xmax(cur) AS restored
      FROM (SELECT pg_current_snapshot() AS cur) s
    """
)
_COUNT = text(
    """
    WITH sealed AS (SELECT coalesce(max(row_id), 0) AS newest FROM audit_leaf),
    late AS (
        (SELECT id FROM audit_event
          WHERE xact_id >= pg_snapshot_xmax(CAST(:prev AS pg_snapshot)) ORDER BY xact_id LIMIT :few)
        UNION
        (SELECT id FROM audit_event
          WHERE xact_id = ANY (ARRAY(SELECT pg_snapshot_xip(CAST(:prev AS pg_snapshot))))
          LIMIT :few)
    )
    SELECT count(*), min(id) FROM (
        (SELECT id FROM audit_event
          WHERE id > (SELECT newest FROM sealed) ORDER BY id LIMIT :most)
        UNION ALL
        SELECT id FROM late WHERE id <= (SELECT newest FROM sealed)
           AND NOT EXISTS (SELECT FROM audit_leaf l WHERE l.row_id = late.id)
    ) AS waiting
    """
)
"""Ids become visible out of order, so besides ids above every sealed one there may be ids of
transactions that ran while the last batch was read. Each of the three sets is read
from an index, up to its limit."""

_FEW = 1000

_INSERT = text(
    f"""
    INSERT INTO audit_leaf (seq, row_id, event_id, leaf_hash)
    SELECT :first + place - 1, row_id, event_id,
           substr(CAST(:hashes AS bytea), CAST({HASH_BYTES} * (place - 1) + 1 AS integer),
                  {HASH_BYTES})
      FROM unnest(CAST(CAST(:row_ids AS text) AS bigint[]),
                  CAST(CAST(:event_ids AS text) AS uuid[]))
           WITH ORDINALITY AS given (row_id, event_id, place)
    """  # noqa: S608 (no input)
)
"""One statement with four parameters: inserting row by row takes twice as long, and the driver's
arrays take a third longer (measured)."""


def fresh_rows(
    connection: Connection, _tables: AuditTables, position: Position, limit: int
) -> tuple[Sequence[UnsealedRow], Position]:
    """Return the next rows in id order, and the position for the checkpoint over them."""
    # The snapshot is taken BEFORE the rows are read: rows that commit between the two are found
    # again by the next pass, and recognized by their leaves.
    previous = position.snapshot or _FRESH
    taken = connection.execute(_SNAPSHOT, {"prev": previous}).one()
    previous = _FRESH if taken.restored else previous
    backlog = None if taken.restored else position.backlog
    if backlog:
        above = {"floor": backlog.floor, "prev": previous, "limit": limit}
        rows = _read(connection, _VISIBLE_SINCE_ABOVE, **above)
    else:
        rows = _read(connection, _VISIBLE_SINCE, prev=previous, limit=limit)
    # Ids below the floor that became visible meanwhile are not in the first pass's snapshot, so
    # a pass from that snapshot finds them.
    seen = backlog.seen if backlog else taken.cur
    is_full = len(rows) == limit
    return rows, Position(
        tree=position.tree,
        snapshot=previous if is_full else seen,
        incarnation=position.incarnation + bool(taken.restored),
        restored=bool(taken.restored),
        backlog=Backlog(seen=seen, floor=rows[-1].id) if is_full else None,
    )


def missed_rows(
    connection: Connection, _tables: AuditTables, position: Position, limit: int
) -> Sequence[UnsealedRow]:
    """Return committed rows that `fresh_rows` never returns."""
    previous = position.snapshot or _FRESH
    if connection.execute(_SNAPSHOT, {"prev": previous}).one().restored:
        return []  # the next ordinary pass starts over
    return _read(connection, _MISSED, prev=previous, limit=limit)


def count_unsealed(
    connection: Connection, tables: AuditTables, most: int
) -> tuple[int, int | None]:
    """Count rows above the newest sealed id, and a limited number of late ones below it."""
    previous = last_position(connection, tables).snapshot or _FRESH
    rows, first = connection.execute(_COUNT, {"prev": previous, "most": most, "few": _FEW}).one()
    return rows, first


def insert_leaves(
    connection: Connection,
    _tables: AuditTables,
    first: int,
    rows: Sequence[UnsealedRow],
    leaves: Sequence[bytes],
) -> None:
    """Insert all leaves with one statement."""
    given = {
        "first": first,
        "row_ids": f"{{{','.join(str(row.id) for row in rows)}}}",
        "event_ids": f"{{{','.join(row.event_id for row in rows)}}}",
        "hashes": b"".join(leaves),
    }
    connection.execute(_INSERT, given)


def _read(connection: Connection, statement: TextClause, **values: object) -> list[UnsealedRow]:
    return [UnsealedRow._make(row) for row in connection.execute(statement, values)]
