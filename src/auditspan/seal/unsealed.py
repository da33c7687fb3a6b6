"""Reader of committed rows without a leaf, and of the last checkpoint.

On PostgreSQL, ids become visible out of order, so a cursor on `id` would miss rows. The reader
selects instead the rows that have become visible since the last checkpoint's snapshot: rows of
transactions that had not begun then, or were running then (design §5, measured). On SQLite, there
is one writer at a time, and ids commit in order.

A client with write access can insert a row that this reader never finds, with an old id or
transaction id; `missed_rows` searches the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Executable, exists, func, select, text

from auditspan.storage import AuditTables, IsCounted, StoredText, UtcText
from auditspan.tlog import Tree, incarnation_of

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


class UnsealedRow(NamedTuple):
    """A committed row without a leaf, as stored; the timestamp has the format of a leaf."""

    id: int
    event_id: str
    recorded_at: str
    body: str
    mac: str | None
    mac_key_id: str | None


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """A backlog of more rows than one pass takes, sealed in the order of their ids.

    It is remembered by its sealer, and not in the database: another sealer starts at the
    checkpoint's snapshot again, and finds the leaves.

    Attributes:
        seen: the snapshot of the first pass; at the end, everything in it is sealed.
        floor: rows up to this id have been read since then.
    """

    seen: str
    floor: int


@dataclass(frozen=True, kw_only=True)
class Position:
    """The tree of the last checkpoint, and the starting point of the search for further rows.

    Attributes:
        incarnation: the incarnation of the next checkpoint, according to the tables.
        restored: whether the tables show that an older backup was restored, so that the
            incarnation is a new one.
    """

    tree: Tree
    snapshot: str | None = None
    incarnation: int = 1
    restored: bool = False
    backlog: Backlog | None = None


def last_position(connection: Connection, tables: AuditTables) -> Position:
    """Return the position of the last checkpoint; an empty one if there is none."""
    table = tables.checkpoint.c
    row = connection.execute(
        select(
            table.tree_size, table.frontier, table.snapshot, StoredText(table.note).label("note")
        )
        .where(IsCounted(table.tree_size))
        .order_by(table.tree_size.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return Position(tree=Tree())
    return Position(
        tree=Tree.load(row.tree_size, row.frontier),
        snapshot=row.snapshot,
        incarnation=incarnation_of(row.note),
    )


def fresh_rows(
    connection: Connection, tables: AuditTables, position: Position, limit: int
) -> tuple[Sequence[UnsealedRow], Position]:
    """Return the next rows in id order, and the position for the checkpoint over them."""
    if connection.dialect.name != "postgresql":
        event, leaf = tables.event.c, tables.leaf.c
        newest = select(func.coalesce(func.max(leaf.row_id), 0)).where(IsCounted(leaf.row_id))
        return _read(
            connection, _where(tables, event.id > newest.scalar_subquery(), limit)
        ), position
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
    connection: Connection, tables: AuditTables, position: Position, limit: int
) -> Sequence[UnsealedRow]:
    """Return committed rows that `fresh_rows` never returns."""
    if connection.dialect.name != "postgresql":
        event, leaf = tables.event.c, tables.leaf.c
        newest = select(func.max(leaf.row_id)).where(IsCounted(leaf.row_id))
        passed = event.id <= newest.scalar_subquery()
        has_no_leaf = ~exists().where(leaf.row_id == event.id)
        return _read(connection, _where(tables, passed & has_no_leaf, limit))
    previous = position.snapshot or _FRESH
    if connection.execute(_SNAPSHOT, {"prev": previous}).one().restored:
        return []  # the next ordinary pass starts over
    return _read(connection, _MISSED, prev=previous, limit=limit)


def _read(connection: Connection, statement: Executable, **values: object) -> list[UnsealedRow]:
    return [UnsealedRow._make(row) for row in connection.execute(statement, values)]


def _where(tables: AuditTables, condition: ColumnElement[bool], limit: int) -> Executable:
    event = tables.event.c
    known = (StoredText(event.event_id), UtcText(event.recorded_at))
    texts = (StoredText(column) for column in (event.body, event.mac, event.mac_key_id))
    statement = select(event.id, *known, *texts)
    return statement.where(condition).order_by(event.id).limit(limit)
