"""Checkpoints as the integrity page shows them, each checked against the previous one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Row, select

from auditspan.storage import AuditTables, IsCounted, StoredText, UtcText, stored_bytes
from auditspan.tlog import PublicKey, Tree, check_checkpoint

_MOST_LEAVES = 20_000
"""Leaves that are read for one page: some 30 ms of hashing."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Checkpoint of the table.

    Attributes:
        lag: seconds from its last row to the checkpoint; None if the row or a time is invalid.
        signature: `valid`, `unknown` without a public key, `unsigned`, or the problem.
        grows: whether the leaves after the previous checkpoint lead to this root; None if that was
            not checked.
        added: the number of leaves after the previous checkpoint; None for the oldest one shown.
    """

    size: int
    root: bytes
    tree: Tree
    note: str | None
    created_text: str
    created_at: datetime | None
    lag: float | None
    signature: str
    grows: bool | None = None
    added: int | None = None


def read_checkpoints(
    connection: Connection, tables: AuditTables, keys: tuple[PublicKey, ...], *, limit: int
) -> list[Checkpoint]:
    """Return the newest checkpoints, the newest last, and check how each grew from its previous."""
    point, leaf, event = tables.checkpoint.c, tables.leaf.c, tables.event.c
    statement = (
        select(
            point.tree_size,
            stored_bytes(point.root_hash).label("root_hash"),
            stored_bytes(point.frontier).label("frontier"),
            StoredText(point.note).label("note"),
            UtcText(point.created_at).label("created_at"),
            UtcText(event.recorded_at).label("recorded_at"),
        )
        .select_from(
            tables.checkpoint.outerjoin(tables.leaf, leaf.seq == point.tree_size - 1).outerjoin(
                tables.event, event.id == leaf.row_id
            )
        )
        .where(IsCounted(point.tree_size), point.tree_size >= 0)
        .order_by(point.tree_size.desc())
        .limit(limit)
    )
    found = [_checkpoint(row, keys) for row in connection.execute(statement)][::-1]
    return _compared(connection, tables, found)


def _checkpoint(row: Row[Any], keys: tuple[PublicKey, ...]) -> Checkpoint:
    created, recorded = _time(row.created_at), _time(row.recorded_at)
    return Checkpoint(
        size=row.tree_size,
        root=row.root_hash,
        tree=Tree.load(row.tree_size, row.frontier),
        note=row.note,
        created_text=row.created_at,
        created_at=created,
        lag=max(0.0, (created - recorded).total_seconds()) if created and recorded else None,
        signature=signature_of(row.note, size=row.tree_size, root=row.root_hash, keys=keys),
    )


def signature_of(note: str | None, *, size: int, root: bytes, keys: tuple[PublicKey, ...]) -> str:
    """Return what is known of the signature of a checkpoint."""
    if note is None:
        return "unsigned"
    if not keys:
        return "unknown"
    return check_checkpoint(note, size=size, root=root, keys=keys) or "valid"


def _compared(
    connection: Connection, tables: AuditTables, found: Sequence[Checkpoint]
) -> list[Checkpoint]:
    """Check the newest checkpoints against the leaves between them."""
    if not found:
        return []
    newest = found[-1].size
    compared = [found[0]]
    for previous, point in pairwise(found):
        added = point.size - previous.size
        is_near = newest - previous.size <= _MOST_LEAVES
        grows = _grows(connection, tables, previous.tree, point) if is_near else None
        compared.append(replace(point, grows=grows, added=added))
    return compared


def _grows(connection: Connection, tables: AuditTables, tree: Tree, point: Checkpoint) -> bool:
    leaf = tables.leaf.c
    between = select(stored_bytes(leaf.leaf_hash)).where(
        leaf.seq >= tree.size, leaf.seq < point.size, IsCounted(leaf.seq)
    )
    grown = tree.append(connection.scalars(between.order_by(leaf.seq)))
    return (grown.size, grown.root) == (point.size, point.root)


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
