"""Stored checkpoints, and the roots of subtrees that they contain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, select

from auditspan.format import Json
from auditspan.storage.column_forms import IsCounted, StoredText, UtcText, stored_bytes
from auditspan.storage.tables import AuditTables
from auditspan.tlog import Tree


@dataclass(frozen=True, kw_only=True)
class StoredCheckpoint:
    """Size and root of the tree at one moment.

    Attributes:
        note: the signed note; None if the worker has no signing key.
        created_at: the time as text, in the format of the body.
    """

    size: int
    root: bytes
    note: str | None
    created_at: str

    def resource(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "tree_size": self.size,
            "root": self.root.hex(),
            "note": self.note,
            "created_at": self.created_at,
        }


def latest_checkpoint(connection: Connection, tables: AuditTables) -> StoredCheckpoint | None:
    """Return the checkpoint of the largest tree; None if nothing is sealed yet."""
    return _first(connection, _checkpoints(tables).order_by(tables.checkpoint.c.tree_size.desc()))


def first_checkpoint(
    connection: Connection, tables: AuditTables, seq: int
) -> StoredCheckpoint | None:
    """Return the checkpoint of the smallest tree with the leaf `seq`; None if there is none yet."""
    size = tables.checkpoint.c.tree_size
    return _first(connection, _checkpoints(tables).where(size > seq).order_by(size))


def _checkpoints(tables: AuditTables) -> Select[Any]:
    table = tables.checkpoint.c
    columns = (stored_bytes(table.root_hash), StoredText(table.note), UtcText(table.created_at))
    return select(table.tree_size, *columns).where(IsCounted(table.tree_size))


def _first(connection: Connection, statement: Select[Any]) -> StoredCheckpoint | None:
    row = connection.execute(statement.limit(1)).one_or_none()
    if row is None:
        return None
    size, root, note, created_at = row
    return StoredCheckpoint(size=size, root=root, note=note, created_at=created_at)


def subtree_root(
    connection: Connection, tables: AuditTables, start: int, bits: int
) -> bytes | None:
    """Return the root of the 2**bits leaves from `start` on; None if no checkpoint contains it.

    The frontier of a tree contains it if the tree ends behind these leaves, and before their
    sibling is complete.
    """
    if start >> bits & 1:
        return None
    table, end = tables.checkpoint.c, start + (1 << bits)
    frontier_bytes = stored_bytes(table.frontier).label("frontier")
    statement = select(table.tree_size, frontier_bytes).where(
        IsCounted(table.tree_size), table.tree_size >= end, table.tree_size < end + (1 << bits)
    )
    row = connection.execute(statement.order_by(table.tree_size).limit(1)).one_or_none()
    if row is None:
        return None
    larger = (row.tree_size >> (bits + 1)).bit_count()
    frontier = Tree.load(row.tree_size, row.frontier).frontier
    return frontier[larger] if larger < len(frontier) else None
