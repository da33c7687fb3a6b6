"""The sealer: gives every committed row its place in one dense sequence and its Merkle leaf.

A pass is one transaction: it reads the rows without a leaf (`unsealed`), and inserts their leaves
and one checkpoint over them. Before signing, the sealer reads the rows and leaves again from the
database; if they do not match, the whole batch is rolled back.

A row with an invalid MAC is still sealed: it is logged as an error, and every later `verify`
reports it. If the sealer stopped there, an attacker who can insert one row could stop the sealing
of all others; if it skipped the row, the attacker could remove it again unnoticed. The leaf is the
evidence. A row whose event id was sealed before is also sealed: its leaf gets an id of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import zip_longest

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from auditspan.format import Keyring, MacKeys
from auditspan.seal.dialects import UNSEALED
from auditspan.seal.last_signed import LastSigned
from auditspan.seal.leaves import distinct_rows, has_leaf_from, is_grown_from
from auditspan.seal.unsealed import Position, UnsealedRow, last_position
from auditspan.storage import AuditTables, insert_counted, lift_time_limits, sealed_hashes
from auditspan.storage.locks import LockWatch, try_sealer_lock
from auditspan.telemetry import SealMeters
from auditspan.tlog import SigningKey, Tree, hash_leaf, sign_checkpoint

_logger = logging.getLogger(__name__)

BATCH = 5000
"""Maximum number of rows per sealing transaction."""

_READ_ONLY = {"postgresql_readonly": True}
"""An engine for SQLite may check this option too, and begin without the write lock."""


class Sealer:
    """Sealer of committed rows, one batch per transaction; any number may run, one works at a time.

    Args:
        engine: the database of the trail.
        tables: the audit tables.
        batch: the maximum number of rows per transaction.
        signing_key: signs every checkpoint. If there are several keys, each signs, and the first
            names the log. Without a key, checkpoints carry no note.
        mac_key: the key or keys that rows may be authenticated with; without one, no MAC is
            checked.
        last_signed: remembers what was signed before, independently of the database.
    """

    def __init__(
        self,
        engine: Engine,
        tables: AuditTables,
        *,
        batch: int = BATCH,
        signing_key: SigningKey | Sequence[SigningKey] | None = None,
        mac_key: MacKeys = None,
        last_signed: LastSigned | None = None,
    ) -> None:
        self._engine = engine
        self._tables = tables
        self.batch = batch
        self._signing_keys = _several(signing_key)
        self._mac_keys = Keyring(mac_key)
        self._last_signed = last_signed
        self._meters = SealMeters()
        self._after: Position | None = None
        self._refused: int | None = None
        self._has_copies = False
        self._watch = LockWatch()
        self._unsealed = UNSEALED.of(engine)

    def seal(self) -> int:
        """Seal committed rows, at most one batch; return their number.

        Leaves and checkpoint are one transaction: a crash leaves both or neither. The number is
        also zero when another sealer is at work.
        """
        return self._without_copies(self._seal_fresh)

    def _without_copies(self, work: Callable[[], int]) -> int:
        """Run one pass; if an id is not unique, run it again with own ids for copied rows."""
        self._has_copies = False
        try:
            return work()
        except IntegrityError:
            self._has_copies = True
            return work()

    def _seal_fresh(self) -> int:
        with self._engine.connect() as connection:
            lift_time_limits(connection)
            last = self._with_backlog(last_position(connection, self._tables))
            rows, position = self._unsealed.fresh_rows(connection, self._tables, last, self.batch)
            if rows and not self._is_next(connection, last):
                return 0
            sealed = self._seal(connection, rows, position)
            self._after = position if sealed else None
            return sealed

    def _is_next(self, connection: Connection, last: Position) -> bool:
        """Take the sealer's lock; return False if another sealer has it, or has sealed meanwhile.

        The lock is taken only when there are rows to seal, since a row lock causes a write, and
        most passes find nothing.
        """
        if not try_sealer_lock(connection, self._tables):
            self._watch.observe(connection, self._tables)
            return False
        return last_position(connection, self._tables).tree.size == last.tree.size

    def _with_backlog(self, last: Position) -> Position:
        """Return the last position, with the previous pass's backlog if that pass was the last."""
        before = self._after
        if before is None or before.backlog is None or before.snapshot != last.snapshot:
            return last
        if last.tree.size != before.tree.size + self.batch:
            return last
        return replace(last, backlog=before.backlog)

    def sweep(self) -> int:
        """Seal rows that `seal` never finds, at most one batch; return their number.

        Such rows exist only if something other than the application wrote them, so each is logged
        as an error. The search takes time in proportion to the table, and blocks no other process.
        """
        with self._engine.connect().execution_options(**_READ_ONLY) as connection:
            last = last_position(connection, self._tables)
            if not self._unsealed.missed_rows(connection, self._tables, last, 1):
                return 0
        return self._without_copies(self._seal_missed)

    def _seal_missed(self) -> int:
        with self._engine.connect() as connection:
            lift_time_limits(connection)
            last = last_position(connection, self._tables)
            rows = self._unsealed.missed_rows(connection, self._tables, last, self.batch)
            if rows and not self._is_next(connection, last):
                return 0
            for row in rows:
                _logger.error(
                    "audit row %s (event %s) was inserted out of order: its id or its transaction "
                    "id is older than what was sealed; it is sealed now",
                    *(row.id, row.event_id),
                )
            return self._seal(connection, rows, last)

    def _seal(self, connection: Connection, rows: Sequence[UnsealedRow], position: Position) -> int:
        if not rows:
            return 0
        first = position.tree.size
        if has_leaf_from(connection, self._tables, first):
            self._refuse(first)
            return 0
        self._refused = None
        leaves = [
            hash_leaf(row_id=row.id, recorded_at=row.recorded_at, mac=row.mac, body=row.body)
            for row in rows
        ]
        given = distinct_rows(connection, self._tables, rows) if self._has_copies else rows
        self._unsealed.insert_leaves(connection, self._tables, first, given, leaves)
        if not self._are_unchanged(connection, first, leaves):
            connection.rollback()
            _logger.error(
                "audit rows changed while they were being sealed, from %s on: nothing of this "
                "batch is sealed; will retry",
                rows[0].id,
            )
            return 0
        note = self._insert_checkpoint(connection, position.tree.append(leaves), position)
        connection.commit()
        if self._last_signed and note:
            self._last_signed.remember(note)
        self._report_false_macs(rows)
        self._meters.sealed(min(row.recorded_at for row in rows))
        return len(rows)

    def _refuse(self, size: int) -> None:
        """Log, once for each size, that the trail cannot be continued from there."""
        if self._refused != size:
            _logger.error(
                "nothing is sealed: the last checkpoint in audit_checkpoint covers %d leaves, but "
                "audit_leaf has more: a checkpoint was removed or changed, or a leaf was inserted. "
                "Run `auditspan verify` to find what changed, and restore it from a backup",
                size,
            )
        self._refused = size

    def _are_unchanged(self, connection: Connection, first: int, expected: Sequence[bytes]) -> bool:
        """Return whether rows and leaves, read again, match those that were hashed."""
        with closing(sealed_hashes(connection, self._tables, first)) as again:
            return all(pair == (leaf, leaf) for pair, leaf in zip_longest(again, expected))

    def _insert_checkpoint(
        self, connection: Connection, tree: Tree, position: Position
    ) -> str | None:
        """Insert the checkpoint over a tree grown from the position; return its note."""
        incarnation = position.incarnation
        if self._last_signed:
            own = incarnation - position.restored
            known = self._last_signed.incarnation(
                position.tree,
                own,
                is_grown_from=partial(is_grown_from, connection, self._tables, position.tree),
            )
            incarnation = max(incarnation, known)
        keys = self._signing_keys
        note = sign_checkpoint(keys, tree, incarnation) if keys else None
        values = {
            "tree_size": tree.size,
            "root_hash": tree.root,
            "frontier": tree.dump(),
            "note": note,
            "snapshot": position.snapshot,
        }
        insert_counted(connection, self._tables.checkpoint, values)
        return note

    def _report_false_macs(self, rows: Sequence[UnsealedRow]) -> None:
        if not self._mac_keys:
            return
        for row in rows:
            if not self._mac_keys.verifies(row.body, row.mac, row.mac_key_id):
                _logger.error(
                    "invalid MAC of audit row %s (event %s): the application did not write the "
                    "row, or wrote it with another key; it is sealed unchanged, and `auditspan "
                    "verify` reports it",
                    row.id,
                    row.event_id,
                )


def _several(keys: SigningKey | Sequence[SigningKey] | None) -> Sequence[SigningKey]:
    if keys is None:
        return ()
    return keys if isinstance(keys, Sequence) else (keys,)
