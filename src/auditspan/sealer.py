"""The sealer: gives every committed row its place in one dense sequence and its Merkle leaf.

On PostgreSQL ids become visible out of order, so a cursor on `id` would miss rows. The reader asks
instead for what has become visible since the last checkpoint's snapshot: rows of transactions that
had not begun then, or were running then (design §5, measured). On SQLite there is one writer at a
time, and ids commit in order.

A row whose MAC is false is sealed all the same, and loudly: it is named in an error of the log, and
`verify` names it ever after. Stopping there would let whoever can insert one row stop the sealing
of all others, and passing over it would let them take the row away again unseen; its leaf is the
evidence.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select, text

from auditspan.canonical import timestamp
from auditspan.locks import SEALER, try_transaction_lock
from auditspan.mac import MacKey
from auditspan.merkle import Tree, hash_leaf
from auditspan.metrics import SealMeters
from auditspan.note import SigningKey
from auditspan.signing import incarnation_of, sign_checkpoint
from auditspan.tables import AuditTables

_logger = logging.getLogger(__name__)

BATCH = 5000
"""Rows in one sealing transaction."""

_ROW = ("id", "event_id", "recorded_at", "body", "mac", "mac_key_id")

_FRESH = "1:1:"
"""The snapshot before everything, for the first pass and after a cluster was restored."""

_VISIBLE_SINCE = text(
    """
    SELECT id, event_id, recorded_at, body, mac, mac_key_id FROM (
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
    incarnation: int = 1


class Sealer:
    """Seals committed rows, one batch per transaction; any number may run, one works at a time.

    Args:
        engine: where the trail is.
        tables: the audit tables.
        batch: rows in one transaction.
        signing_key: signs every checkpoint; without one they carry no note.
        mac_key: every row is checked under it before it is sealed; without one none is.
    """

    def __init__(
        self,
        engine: Engine,
        tables: AuditTables,
        *,
        batch: int = BATCH,
        signing_key: SigningKey | None = None,
        mac_key: MacKey | None = None,
    ) -> None:
        self._engine = engine
        self._tables = tables
        self._batch = batch
        self._signing_key = signing_key
        self._mac_key = mac_key
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
            rows, point = self._unsealed(connection, last)
            if rows:
                self._write(connection, rows, point)
        if rows:
            self._report_false_macs(rows)
            self._meters.sealed([row.recorded_at for row in rows])
        return len(rows)

    def _last_checkpoint(self, connection: Connection) -> _Checkpoint:
        table = self._tables.checkpoint
        row = connection.execute(
            select(table.c.tree_size, table.c.frontier, table.c.snapshot, table.c.note)
            .order_by(table.c.tree_size.desc())
            .limit(1)
        ).one_or_none()
        if row is None:
            return _Checkpoint(tree=Tree(), snapshot=_FRESH)
        return _Checkpoint(
            tree=Tree.load(row.tree_size, row.frontier),
            snapshot=row.snapshot or _FRESH,
            incarnation=incarnation_of(row.note),
        )

    def _unsealed(
        self, connection: Connection, last: _Checkpoint
    ) -> tuple[Sequence[Row[Any]], _Checkpoint]:
        """The next rows, and the last checkpoint as it stands for the next one."""
        if connection.dialect.name == "postgresql":
            return self._unsealed_postgresql(connection, last)
        event, leaf = self._tables.event.c, self._tables.leaf.c
        newest = select(leaf.row_id).order_by(leaf.seq.desc()).limit(1).scalar_subquery()
        statement = (
            select(*(event[name] for name in _ROW))
            .where(newest.is_(None) | (event.id > newest))
            .order_by(event.id)
            .limit(self._batch)
        )
        return connection.execute(statement).all(), last

    def _unsealed_postgresql(
        self, connection: Connection, last: _Checkpoint
    ) -> tuple[Sequence[Row[Any]], _Checkpoint]:
        # The snapshot is taken BEFORE the rows are read: what commits between the two is read
        # again by the next pass, and known by its leaf.
        taken = connection.execute(_SNAPSHOT, {"prev": last.snapshot}).one()
        previous = _FRESH if taken.restored else last.snapshot
        statement = _VISIBLE_SINCE.columns(
            **{name: self._tables.event.c[name].type for name in ("event_id", "recorded_at")}
        )
        rows = connection.execute(statement, {"prev": previous, "limit": self._batch}).all()
        return rows, _Checkpoint(
            tree=last.tree,
            snapshot=taken.cur if len(rows) < self._batch else previous,
            incarnation=last.incarnation + bool(taken.restored),
        )

    def _write(self, connection: Connection, rows: Sequence[Row[Any]], point: _Checkpoint) -> None:
        tree = point.tree
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
                "note": self._note(grown, point.incarnation),
                "snapshot": point.snapshot if connection.dialect.name == "postgresql" else None,
            },
        )

    def _note(self, tree: Tree, incarnation: int) -> str | None:
        key = self._signing_key
        return sign_checkpoint(key, tree, incarnation) if key else None

    def _report_false_macs(self, rows: Sequence[Row[Any]]) -> None:
        key = self._mac_key
        if key is None:
            return
        for row in rows:
            is_ours = row.mac is not None and row.mac_key_id == key.key_id
            if not is_ours or not key.verifies(row.body, row.mac):
                _logger.error(
                    "the MAC of audit row %s (event %s) is not ours: somebody else wrote it, or it "
                    "is under another key; it is sealed as it stands, and verify names it",
                    row.id,
                    row.event_id,
                )
