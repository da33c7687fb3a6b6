"""Proof that an event is in a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from auditspan.errors import AuditBodyError, AuditConfigError, NotSealedError
from auditspan.format import Json, SealedLeaf
from auditspan.reading.span_roots import span_root
from auditspan.storage import (
    AuditTables,
    StoredCheckpoint,
    get_event,
    latest_checkpoint,
    purged_seq,
    sealed_leaves,
)
from auditspan.tlog import (
    PublicKey,
    Span,
    check_checkpoint,
    consistency_spans,
    hash_leaf,
    inclusion_spans,
    verify_consistency,
    verify_inclusion,
)


@dataclass(frozen=True, kw_only=True)
class EventProof:
    """Proof that an event is in the newest checkpoint.

    Attributes:
        leaf: the sealed row; of a purged event, only the leaf.
        checkpoint: the newest checkpoint.
        inclusion: the path from the leaf to the root of the checkpoint (RFC 9162 §2.1.3).
        from_size: the size of an earlier tree; None if none was named.
        consistency: the proof that the checkpoint's tree begins with the earlier one (§2.1.4).
    """

    leaf: SealedLeaf
    checkpoint: StoredCheckpoint
    inclusion: Sequence[bytes]
    from_size: int | None
    consistency: Sequence[bytes]

    def resource(self) -> dict[str, Json]:
        """Return the JSON form: everything that checking requires but the public keys."""
        leaf = self.leaf
        return {
            "event_id": leaf.event_id,
            "seq": leaf.seq,
            "row_id": leaf.row_id,
            "recorded_at": leaf.recorded_at,
            "mac": leaf.mac,
            "body": leaf.body,
            "leaf_hash": leaf.leaf_hash.hex(),
            "inclusion": [node.hex() for node in self.inclusion],
            "checkpoint": self.checkpoint.resource(),
            "from_size": self.from_size,
            "consistency": [node.hex() for node in self.consistency],
        }


def prove_event(
    connection: Connection, tables: AuditTables, event_id: str, *, from_size: int | None = None
) -> EventProof | None:
    """Return the proof that an event is in the newest checkpoint; None if no event has this id.

    The proof of a purged event has no body; the leaf must be the hash of a body from elsewhere.

    Args:
        connection: the connection to read from.
        tables: the audit tables.
        event_id: the id of the event, in lower case.
        from_size: the size of an earlier checkpoint, to prove that the newest one continues it.

    Raises:
        AuditConfigError: `from_size` is not the size of an earlier tree.
        NotSealedError: no checkpoint covers the event yet.
        AuditBodyError: leaves are missing, or the event has the number of none.
    """
    event = get_event(connection, tables, event_id)
    seq = event.seq if event else purged_seq(connection, tables, event_id)
    if event is None and seq is None:
        return None
    newest = latest_checkpoint(connection, tables)
    if seq is None or newest is None or seq >= newest.size:
        raise NotSealedError
    if seq < 0:
        raise AuditBodyError(f"invalid sequence number {seq} of the event: run `auditspan verify`")
    if from_size is not None and not 0 < from_size <= newest.size:
        raise AuditConfigError(f"from_size must be from 1 to {newest.size}, the newest tree size")
    size = newest.size

    def roots(spans: Sequence[Span]) -> list[bytes]:
        return [span_root(connection, tables, span) for span in spans]

    return EventProof(
        leaf=_leaf(connection, tables, seq),
        checkpoint=newest,
        inclusion=roots(inclusion_spans(seq, size)),
        from_size=from_size,
        consistency=roots(consistency_spans(from_size, size)) if from_size else [],
    )


def _leaf(connection: Connection, tables: AuditTables, seq: int) -> SealedLeaf:
    with closing(sealed_leaves(connection, tables, seq)) as leaves:
        return next(leaves)


def check_proof(
    proof: Mapping[str, Any], keys: Sequence[PublicKey], *, from_root: bytes | None = None
) -> str | None:
    """Check a proof in its JSON form; return the problem, or None if it holds.

    Args:
        proof: the JSON form, from an untrusted source. If it has no body, because the event was
            purged, only the hash is checked: compare it with that of a body from elsewhere.
        keys: the public keys of the trail.
        from_root: the root of the earlier checkpoint, if the proof is also one of consistency.
    """
    checks: tuple[Callable[[], str | None], ...] = (
        lambda: _check_note(proof, keys),
        lambda: _check_inclusion(proof),
        lambda: _check_consistency(proof, from_root) if from_root is not None else None,
    )
    try:
        return next((problem for check in checks if (problem := check())), None)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return f"the proof is malformed ({type(error).__name__})"


def _check_note(proof: Mapping[str, Any], keys: Sequence[PublicKey]) -> str | None:
    said = proof["checkpoint"]
    root = bytes.fromhex(said["root"])
    return check_checkpoint(said["note"], size=said["tree_size"], root=root, keys=tuple(keys))


def _check_inclusion(proof: Mapping[str, Any]) -> str | None:
    said = proof["checkpoint"]
    is_included = verify_inclusion(
        leaf=_hash(proof),
        index=proof["seq"],
        size=said["tree_size"],
        proof=[bytes.fromhex(node) for node in proof["inclusion"]],
        root=bytes.fromhex(said["root"]),
    )
    return None if is_included else "the event is not in the tree of the checkpoint"


def _hash(proof: Mapping[str, Any]) -> bytes:
    if proof["body"] is None:
        return bytes.fromhex(proof["leaf_hash"])
    return hash_leaf(
        row_id=proof["row_id"],
        recorded_at=proof["recorded_at"],
        mac=proof["mac"],
        body=proof["body"],
    )


def _check_consistency(proof: Mapping[str, Any], from_root: bytes) -> str | None:
    said = proof["checkpoint"]
    is_consistent = verify_consistency(
        size=proof["from_size"],
        root=from_root,
        later_size=said["tree_size"],
        later_root=bytes.fromhex(said["root"]),
        proof=[bytes.fromhex(node) for node in proof["consistency"]],
    )
    return None if is_consistent else "the checkpoint does not continue the earlier one"
