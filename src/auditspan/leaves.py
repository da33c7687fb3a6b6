"""Leaves of sealed rows, as the sealer writes and compares them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, text

from auditspan.merkle import HASH_BYTES, Tree, TreeBuilder
from auditspan.sealed import IsCounted, stored_bytes
from auditspan.tables import AuditTables
from auditspan.unsealed import UnsealedRow

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
"""One statement with four parameters: a row at a time takes twice as long, and the driver's arrays
a third longer (measured)."""


_CHUNK = 1000
"""Leaf hashes that are read at once."""


def insert_leaves(
    connection: Connection,
    tables: AuditTables,
    first: int,
    rows: Sequence[UnsealedRow],
    leaves: Sequence[bytes],
) -> None:
    """Give these rows the sequence numbers from `first` on, and these leaf hashes."""
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


def is_taken(connection: Connection, tables: AuditTables, seq: int) -> bool:
    """Whether a leaf has this sequence number already, or a later one."""
    leaf = tables.leaf.c
    later = select(leaf.seq).where(leaf.seq >= seq, IsCounted(leaf.seq)).limit(1)
    return connection.execute(later).first() is not None


def is_grown_from(
    connection: Connection, tables: AuditTables, tree: Tree, size: int, root: bytes
) -> bool:
    """Whether the leaves have this root at this size, and are those of this larger tree.

    It reads every leaf before the end of the tree, in constant memory.
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
