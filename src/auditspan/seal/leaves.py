"""Comparison of rows with the leaves of sealed rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Connection, select

from auditspan.format import copy_id
from auditspan.seal.unsealed import UnsealedRow
from auditspan.storage import AuditTables, IsCounted, stored_bytes
from auditspan.tlog import Tree, TreeBuilder

_logger = logging.getLogger(__name__)

_ASKED = 1000

_CHUNK = 1000
"""Leaf hashes per read."""


def distinct_rows(
    connection: Connection, tables: AuditTables, rows: Sequence[UnsealedRow]
) -> Sequence[UnsealedRow]:
    """Return the rows, with `copy_id` in place of an event id that is sealed or repeated."""
    column = tables.leaf.c.event_id
    taken: set[str] = set()
    for start in range(0, len(rows), _ASKED):
        ids = [row.event_id for row in rows[start : start + _ASKED]]
        taken.update(connection.scalars(select(column).where(column.in_(ids))))
    given = []
    for row in rows:
        if row.event_id in taken:
            _logger.error(
                "audit row %s has the event id %s of another row: it is a copy; it is sealed "
                "unchanged, and `auditspan verify` reports it",
                *(row.id, row.event_id),
            )
            given.append(row._replace(event_id=copy_id(row.id)))
        else:
            given.append(row)
        taken.add(row.event_id)
    return given


def has_leaf_from(connection: Connection, tables: AuditTables, seq: int) -> bool:
    """Return whether a leaf has this sequence number or a later one."""
    leaf = tables.leaf.c
    later = select(leaf.seq).where(leaf.seq >= seq, IsCounted(leaf.seq)).limit(1)
    return connection.execute(later).first() is not None


def is_grown_from(
    connection: Connection, tables: AuditTables, tree: Tree, size: int, root: bytes
) -> bool:
    """Return whether the leaves have this root at this size, and make up this larger tree.

    Every leaf up to the end of the tree is read, in constant memory.
    """
    leaf = tables.leaf.c
    statement = (
        select(stored_bytes(leaf.leaf_hash))
        .where(leaf.seq < tree.size, IsCounted(leaf.seq))
        .order_by(leaf.seq)
        .execution_options(yield_per=_CHUNK)
    )
    builder = TreeBuilder()
    with connection.execute(statement) as result:
        for hashed in result.scalars():
            builder.append(hashed)
            if builder.size == size and builder.tree().root != root:
                return False
    return builder.tree() == tree
