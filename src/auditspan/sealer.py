"""The sealer: gives every committed row its place in one dense sequence and its Merkle leaf.

On PostgreSQL ids become visible out of order, so a cursor on `id` would miss rows. The reader asks
instead for what has become visible since the last checkpoint's snapshot: rows of transactions that
had not begun then, or were running then (design §5, measured). On SQLite there is one writer at a
time, and ids commit in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select, text

from auditspan.canonical import timestamp
from auditspan.locks import SEALER, try_transaction_lock
from auditspan.merkle import Tree, hash_leaf
from auditspan.metrics import SealMeters
from auditspan.tables import AuditTables

BATCH = 5000
"""Rows in one sealing transaction."""

_FRESH = "1:1:"
"""The snapshot before everything, for the first pass and after a cluster was restored."""

_VISIBLE_SINCE = text(
    """
    SELECT id, event_id, recorded_at, body, mac FROM (
        SELECT e.* FROM audit_event e
         WHERE e.xact_id >= pg_snapshot_xmax(CAST(:prev AS pg_snapshot))
        UNION ALL
        SELECT e.* FROM audit_event e
         WHERE e.xact_id = ANY (ARRAY(SELECT pg_snapshot_xip(CAST(:prev AS pg_snapshot))))
    ) e
    WHERE NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.row_id = e.id)
    ORDER BY id LIMIT :limit
    """
)
_SNAPSHOT = text(
    """
    SELECT CAST(cur AS text) AS cur,
           pg_snapshot_xmax(CAST(:prev AS pg_snapshot)) > pg_snapshot_xmax(cur) AS restored
      FROM (SELECT pg_current_snapshot() AS cur) s
    """
)


@dataclass(frozen=True, kw_only=True)
class _Checkpoint:
    tree: Tree
    snapshot: str


class Sealer:
    """Seals committed rows, one batch per transaction; any number may run, one works at a time."""

    def __init__(self, engine: Engine, tables: AuditTables, *, batch: int = BATCH) -> None:
        self._engine = engine
        self._tables = tables
        self._batch = batch
        self._meters = SealMeters()

    def seal(self) -> int:
        """Seal what has been committed, at most one batch; how many rows it was.

        Leaves and checkpoint are one transaction: a crash leaves both or neither. Zero also when
        another sealer is at work.
        """
        with self._engine.begin() as connection:
            if not try_transaction_lock(connection, SEALER):
                return 0
            last = self._last_checkpoint(connection)
            rows, snapshot = self._unsealed(connection, last)
            if rows:
                self._write(connection, last.tree, rows, snapshot)
        if rows:
            self._meters.sealed([row.recorded_at for row in rows])
        return len(rows)

    def _last_checkpoint(self, connection: Connection) -> _Checkpoint:
        table = self._tables.checkpoint
        row = connection.execute(
            select(table.c.tree_size, table.c.frontier, table.c.snapshot)
            .order_by(table.c.tree_size.desc())
            .limit(1)
        ).one_or_none()
        if row is None:
            return _Checkpoint(tree=Tree(), snapshot=_FRESH)
        return _Checkpoint(
            tree=Tree.load(row.tree_size, row.frontier), snapshot=row.snapshot or _FRESH
        )

    def _unsealed(
        self, connection: Connection, last: _Checkpoint
    ) -> tuple[Sequence[Row[Any]], str | None]:
        if connection.dialect.name == "postgresql":
            return self._unsealed_postgresql(connection, last)
        event, leaf = self._tables.event.c, self._tables.leaf.c
        newest = select(leaf.row_id).order_by(leaf.seq.desc()).limit(1).scalar_subquery()
        statement = (
            select(event.id, event.event_id, event.recorded_at, event.body, event.mac)
            .where(newest.is_(None) | (event.id > newest))
            .order_by(event.id)
            .limit(self._batch)
        )
        return connection.execute(statement).all(), None

    def _unsealed_postgresql(
        self, connection: Connection, last: _Checkpoint
    ) -> tuple[Sequence[Row[Any]], str]:
        # The snapshot is taken BEFORE the rows are read: what commits between the two is read
        # again by the next pass, and known by its leaf.
        taken = connection.execute(_SNAPSHOT, {"prev": last.snapshot}).one()
        previous = _FRESH if taken.restored else last.snapshot
        statement = _VISIBLE_SINCE.columns(
            **{name: self._tables.event.c[name].type for name in ("event_id", "recorded_at")}
        )
        rows = connection.execute(statement, {"prev": previous, "limit": self._batch}).all()
        return rows, taken.cur if len(rows) < self._batch else previous

    def _write(
        self, connection: Connection, tree: Tree, rows: Sequence[Row[Any]], snapshot: str | None
    ) -> None:
        leaves = [
            {
                "seq": seq,
                "row_id": row.id,
                "event_id": row.event_id,
                "leaf_hash": hash_leaf(
                    row_id=row.id,
                    recorded_at=timestamp(row.recorded_at),
                    mac=row.mac,
                    body=row.body,
                ),
            }
            for seq, row in enumerate(rows, start=tree.size)
        ]
        grown = tree.append(leaf["leaf_hash"] for leaf in leaves)
        connection.execute(insert(self._tables.leaf), leaves)
        connection.execute(
            insert(self._tables.checkpoint),
            {
                "tree_size": grown.size,
                "root_hash": grown.root,
                "frontier": grown.dump(),
                "snapshot": snapshot,
            },
        )
