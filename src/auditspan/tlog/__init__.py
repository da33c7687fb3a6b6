"""Transparency log: Merkle tree, proofs, signed notes and checkpoints."""

from __future__ import annotations

from auditspan.tlog.checkpoint import (
    KEY_PREFIX,
    check_checkpoint,
    incarnation_of,
    log_name,
    may_continue,
    sign_checkpoint,
    split_origin,
)
from auditspan.tlog.leaf_range import LeafRange
from auditspan.tlog.merkle import HASH_BYTES, Tree, TreeBuilder, hash_leaf, hash_node
from auditspan.tlog.note import Checkpoint, NoteError, PublicKey, SigningKey, key_ids, open_note
from auditspan.tlog.proofs import (
    Span,
    consistency_spans,
    inclusion_spans,
    verify_consistency,
    verify_inclusion,
)

__all__ = [
    "HASH_BYTES",
    "KEY_PREFIX",
    "Checkpoint",
    "LeafRange",
    "NoteError",
    "PublicKey",
    "SigningKey",
    "Span",
    "Tree",
    "TreeBuilder",
    "check_checkpoint",
    "consistency_spans",
    "hash_leaf",
    "hash_node",
    "incarnation_of",
    "inclusion_spans",
    "key_ids",
    "log_name",
    "may_continue",
    "open_note",
    "sign_checkpoint",
    "split_origin",
    "verify_consistency",
    "verify_inclusion",
]
