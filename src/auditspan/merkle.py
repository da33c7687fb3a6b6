"""The Merkle tree over the trail (RFC 6962 §2.1, RFC 9162 §2.1), as far as it is needed to grow it.

A tree is kept as its frontier: the roots of the perfect subtrees that make it up, largest first,
one for every bit that is set in its size. Appending a leaf and computing the root take a number of
hashes that is logarithmic in the size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from auditspan.canonical import canonical_json

HASH_BYTES = 32


def hash_leaf(*, row_id: int, recorded_at: str, mac: str | None, body: str) -> bytes:
    """The leaf of one row: what the database added, the MAC, and the hash of the body.

    Args:
        row_id: `audit_event.id`.
        recorded_at: the database's clock, UTC with microseconds and ``Z``.
        mac: the MAC of the body in hexadecimal, or None where the trail has no key.
        body: the exact canonical text.
    """
    leaf = canonical_json(
        {
            "v": 1,
            "id": str(row_id),
            "recorded_at": recorded_at,
            "mac": mac,
            "body_sha256": hashlib.sha256(body.encode()).hexdigest(),
        }
    )
    return hashlib.sha256(b"\x00" + leaf.encode()).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Tree:
    """A Merkle tree of `size` leaves, kept as its frontier."""

    size: int = 0
    frontier: tuple[bytes, ...] = ()

    @classmethod
    def load(cls, size: int, frontier: bytes) -> Tree:
        """A tree from what `dump` wrote."""
        steps = range(0, len(frontier), HASH_BYTES)
        return cls(size, tuple(frontier[i : i + HASH_BYTES] for i in steps))

    def dump(self) -> bytes:
        """The frontier as bytes, 32 for every bit that is set in the size."""
        return b"".join(self.frontier)

    def append(self, leaves: Iterable[bytes]) -> Tree:
        """The tree with these leaf hashes added at its end."""
        size, frontier = self.size, list(self.frontier)
        for leaf in leaves:
            node, bits = leaf, size
            while bits & 1:
                node, bits = hash_node(frontier.pop(), node), bits >> 1
            frontier.append(node)
            size += 1
        return Tree(size, tuple(frontier))

    @property
    def root(self) -> bytes:
        """The root hash; that of the empty tree is the hash of nothing."""
        if not self.frontier:
            return hashlib.sha256().digest()
        node = self.frontier[-1]
        for left in reversed(self.frontier[:-1]):
            node = hash_node(left, node)
        return node
