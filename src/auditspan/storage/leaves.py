"""Sealed leaves with their current rows, read as text in sequence order."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from sqlalchemy import Connection, func, select

from auditspan.format import COLUMNS, SealedLeaf
from auditspan.storage.column_forms import (
    IsCounted,
    StoredNumber,
    StoredText,
    UtcText,
    plain_text,
    stored_bytes,
)
from auditspan.storage.tables import AuditTables
from auditspan.tlog import hash_leaf

_CHUNK = 100
"""The number of rows that are read at once. Thousands do not fit the CPU cache: reading alone then
takes 50 % longer (measured on SQLite and on PostgreSQL)."""

_UNHASHED = len(SealedLeaf._fields) - 1
"""The position of the first plain column in a row of the query."""


def sealed_leaves(
    connection: Connection, tables: AuditTables, first: int = 0, end: int | None = None
) -> Generator[SealedLeaf, None, None]:
    """Yield the leaves from sequence number `first` on, or to before `end`, with their rows."""
    event, leaf = tables.event, tables.leaf
    numbers = leaf.c.seq >= first if end is None else leaf.c.seq.between(first, end - 1)
    statement = (
        select(
            StoredNumber(leaf.c.seq),
            StoredNumber(leaf.c.row_id),
            StoredText(leaf.c.event_id),
            stored_bytes(leaf.c.leaf_hash),
            UtcText(event.c.recorded_at),
            *(StoredText(event.c[name]) for name in ("body", "mac", "mac_key_id")),
            *(plain_text(event.c[name]) for name in COLUMNS),
        )
        .select_from(leaf.outerjoin(event, event.c.id == leaf.c.row_id))
        .where(numbers)
        .order_by(leaf.c.seq)
        .execution_options(yield_per=_CHUNK)
    )
    with connection.execute(statement) as result:
        for rows in result.partitions():
            for row in rows:
                plain = tuple(row)  # slicing it is faster than slicing a row
                yield SealedLeaf._make((*plain[:_UNHASHED], plain[_UNHASHED:]))


def sealed_hashes(
    connection: Connection, tables: AuditTables, first: int
) -> Generator[tuple[bytes, bytes | None], None, None]:
    """Yield the stored hash of each leaf and the hash of its row, or None if the row is missing."""
    event, leaf = tables.event.c, tables.leaf.c
    columns = (
        *(leaf.row_id, UtcText(event.recorded_at)),
        *(StoredText(event.mac), StoredText(event.body)),
    )
    statement = (
        select(stored_bytes(leaf.leaf_hash), *columns)
        .select_from(tables.leaf.outerjoin(tables.event, event.id == leaf.row_id))
        .where(leaf.seq >= first, IsCounted(leaf.seq))
        .order_by(leaf.seq)
        .execution_options(yield_per=_CHUNK)
    )
    with connection.execute(statement) as result:
        for stored, row_id, recorded_at, mac, body in result:
            if body is None or recorded_at is None:
                yield stored, None
            else:
                yield stored, hash_leaf(row_id=row_id, recorded_at=recorded_at, mac=mac, body=body)


def leaf_hashes(
    connection: Connection, tables: AuditTables, first: int, end: int
) -> Iterator[bytes]:
    """Yield the stored leaf hashes from sequence number `first` to before `end`."""
    leaf = tables.leaf.c
    statement = select(stored_bytes(leaf.leaf_hash)).where(leaf.seq >= first, leaf.seq < end)
    return iter(connection.scalars(statement.order_by(leaf.seq)))


def newest_size(connection: Connection, tables: AuditTables) -> int:
    """Return the number of leaves, assuming a dense sequence."""
    seq = tables.leaf.c.seq
    newest = connection.execute(select(func.max(seq)).where(IsCounted(seq))).scalar_one()
    return 0 if newest is None else int(newest) + 1
