"""Proof that an event is in a checkpoint of the trail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, select

from auditspan.storage import (
    AuditTables,
    IsCounted,
    StoredText,
    UtcText,
    sealed_hashes,
    stored_bytes,
)
from auditspan.tlog import Tree, inclusion_proof_after, verify_inclusion


@dataclass(frozen=True, kw_only=True)
class Inclusion:
    """Inclusion proof of one event in the first checkpoint that covers it.

    Attributes:
        seq: the sequence number of the event.
        leaf: the leaf hash, computed from the row as it is now; None if the row is missing.
        proof: the hashes of the path from the leaf to the root (RFC 9162).
        size: the number of leaves in the checkpoint.
        root: the root hash in the checkpoint.
        note: the signed note of the checkpoint; None if it is not signed.
        created_at: the time of the checkpoint, as text in UTC.
    """

    seq: int
    leaf: bytes | None
    proof: tuple[bytes, ...]
    size: int
    root: bytes
    note: str | None
    created_at: str

    @property
    def holds(self) -> bool:
        """True if the path leads from the row to the root of the checkpoint."""
        return self.leaf is not None and verify_inclusion(
            leaf=self.leaf, index=self.seq, size=self.size, proof=self.proof, root=self.root
        )


def read_inclusion(connection: Connection, tables: AuditTables, seq: int) -> Inclusion | None:
    """Return the inclusion proof of a sealed event; None if no checkpoint covers it yet.

    It reads the leaves of one batch of the sealer, however long the trail is: the leaves before the
    batch are represented by the frontier of the previous checkpoint.
    """
    size = tables.checkpoint.c.tree_size
    points = _checkpoints(tables)
    covering = connection.execute(points.where(size > seq).order_by(size).limit(1)).first()
    if covering is None:
        return None
    before = connection.execute(points.where(size <= seq).order_by(size.desc()).limit(1)).first()
    tree = Tree.load(before.tree_size, before.frontier) if before is not None else Tree()
    leaves = _leaves(connection, tables, tree.size, covering.tree_size)
    is_whole = len(leaves) == covering.tree_size - tree.size and _is_whole(tree)
    return Inclusion(
        seq=seq,
        leaf=_current_leaf(connection, tables, seq),
        proof=tuple(inclusion_proof_after(tree, leaves, seq)) if is_whole else (),
        size=covering.tree_size,
        root=covering.root_hash,
        note=covering.note,
        created_at=covering.created_at,
    )


def _checkpoints(tables: AuditTables) -> Select[Any]:
    point = tables.checkpoint.c
    return select(
        point.tree_size,
        stored_bytes(point.root_hash).label("root_hash"),
        stored_bytes(point.frontier).label("frontier"),
        StoredText(point.note).label("note"),
        UtcText(point.created_at).label("created_at"),
    ).where(IsCounted(point.tree_size))


def _is_whole(tree: Tree) -> bool:
    """Check that the frontier has a node for each perfect subtree; tampering may remove some."""
    return len(tree.frontier) == tree.size.bit_count()


def _leaves(connection: Connection, tables: AuditTables, first: int, end: int) -> list[bytes]:
    leaf = tables.leaf.c
    wanted = select(stored_bytes(leaf.leaf_hash)).where(
        leaf.seq >= first, leaf.seq < end, IsCounted(leaf.seq)
    )
    return list(connection.scalars(wanted.order_by(leaf.seq)))


def _current_leaf(connection: Connection, tables: AuditTables, seq: int) -> bytes | None:
    """Return the hash of the row as it is now, which differs from the leaf after tampering."""
    hashes = sealed_hashes(connection, tables, seq)
    _, current = next(hashes, (b"", None))
    hashes.close()
    return current
