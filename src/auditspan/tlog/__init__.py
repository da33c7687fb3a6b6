"""Transparency log: Merkle tree, proofs, signed notes and checkpoints."""

from __future__ import annotations

from auditspan.tlog.checkpoint import (
    KEY_PREFIX,
    check_checkpoint,
    goes_on_from,
    incarnation_of,
    log_name,
    sign_checkpoint,
    split_origin,
)
from auditspan.tlog.merkle import HASH_BYTES, Tree, TreeBuilder, hash_leaf
from auditspan.tlog.note import Checkpoint, NoteError, PublicKey, SigningKey, key_ids, open_note
from auditspan.tlog.proofs import inclusion_proof_after, verify_inclusion

__all__ = [
    "HASH_BYTES",
    "KEY_PREFIX",
    "Checkpoint",
    "NoteError",
    "PublicKey",
    "SigningKey",
    "Tree",
    "TreeBuilder",
    "check_checkpoint",
    "goes_on_from",
    "hash_leaf",
    "incarnation_of",
    "inclusion_proof_after",
    "key_ids",
    "log_name",
    "open_note",
    "sign_checkpoint",
    "split_origin",
    "verify_inclusion",
]
