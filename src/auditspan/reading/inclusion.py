"""Proof that an event is in a checkpoint of the trail."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from auditspan.errors import AuditBodyError
from auditspan.reading.span_roots import span_root
from auditspan.storage import AuditTables, first_checkpoint, sealed_hashes
from auditspan.tlog import inclusion_spans, verify_inclusion


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

    Unlike `prove_event`, it is about the first checkpoint after the event, and survives tampering:
    where leaves are missing, the proof is empty and does not hold.
    """
    point = first_checkpoint(connection, tables, seq)
    if point is None:
        return None
    return Inclusion(
        seq=seq,
        leaf=_current_leaf(connection, tables, seq),
        proof=_proof(connection, tables, seq, point.size),
        size=point.size,
        root=point.root,
        note=point.note,
        created_at=point.created_at,
    )


def _proof(connection: Connection, tables: AuditTables, seq: int, size: int) -> tuple[bytes, ...]:
    try:
        return tuple(span_root(connection, tables, span) for span in inclusion_spans(seq, size))
    except (AuditBodyError, ValueError):  # leaves are missing, or the number is none of a leaf
        return ()


def _current_leaf(connection: Connection, tables: AuditTables, seq: int) -> bytes | None:
    """Return the hash of the row as it is now, which differs from the leaf after tampering."""
    hashes = sealed_hashes(connection, tables, seq)
    _, current = next(hashes, (b"", None))
    hashes.close()
    return current
