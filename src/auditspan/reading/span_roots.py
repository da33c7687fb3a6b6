"""Roots of spans of leaves, for proofs.

A root over many leaves is taken from the frontiers of checkpoints, so that a proof in a large trail
takes some hundred short queries, and never reads all leaves.
"""

from __future__ import annotations

from sqlalchemy import Connection

from auditspan.errors import AuditBodyError
from auditspan.storage import AuditTables, leaf_hashes, subtree_root
from auditspan.tlog import Span, Tree, hash_node

_FEW_BITS = 9
"""Subtrees up to this height are computed from their leaves."""


def span_root(connection: Connection, tables: AuditTables, span: Span) -> bytes:
    """Return the root of a span of leaves.

    Raises:
        AuditBodyError: a leaf is missing.
    """
    size, start, frontier = span.end - span.start, span.start, list[bytes]()
    for bits in reversed(range(size.bit_length())):
        if size >> bits & 1:
            frontier.append(_root(connection, tables, start, bits))
            start += 1 << bits
    return Tree(size, tuple(frontier)).root


def _root(connection: Connection, tables: AuditTables, start: int, bits: int) -> bytes:
    """Return the root of a perfect subtree."""
    if bits <= _FEW_BITS:
        return _root_of_leaves(connection, tables, start, 1 << bits)
    if (stored := subtree_root(connection, tables, start, bits)) is not None:
        return stored
    middle = start + (1 << bits - 1)
    left, right = (_root(connection, tables, each, bits - 1) for each in (start, middle))
    return hash_node(left, right)


def _root_of_leaves(connection: Connection, tables: AuditTables, start: int, size: int) -> bytes:
    found = list(leaf_hashes(connection, tables, start, start + size))
    if len(found) < size:
        raise AuditBodyError(
            f"leaves from sequence number {start} on are missing: run `auditspan verify`"
        )
    return Tree().append(found).root
