"""Writing and comparison of the leaves of sealed rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, text

from auditspan.format import copy_id
from auditspan.seal.unsealed import UnsealedRow
from auditspan.storage import AuditTables, IsCounted, stored_bytes
from auditspan.tlog import HASH_BYTES, Tree, TreeBuilder

_logger = logging.getLogger(__name__)

_ASKED = 1000

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


_CHUNK = 1000
"""Leaf hashes per read."""


def insert_leaves(
    connection: Connection,
    tables: AuditTables,
    first: int,
    rows: Sequence[UnsealedRow],
    leaves: Sequence[bytes],
) -> None:
    """Insert leaves for these rows, with sequence numbers from `first` on."""
    if connection.dialect.name == "postgresql":
        given = {
            "first": first,
            "row_ids": f"{{{','.join(str(row.id) for row in rows)}}}",
            "event_ids": f"{{{','.join(row.event_id for row in rows)}}}",
            "hashes": b"".join(leaves),
        }
        connection.execute(_INSERT, given)
        return
    made = [
        {"seq": seq, "row_id": row.id, "event_id": row.event_id, "leaf_hash": leaf}
        for seq, (row, leaf) in enumerate(zip(rows, leaves, strict=True), start=first)
    ]
    connection.execute(insert(tables.leaf), made)


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


def is_taken(connection: Connection, tables: AuditTables, seq: int) -> bool:
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
