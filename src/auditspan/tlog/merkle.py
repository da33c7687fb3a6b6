"""Merkle tree over the trail (RFC 6962 §2.1, RFC 9162 §2.1).

A tree is stored as its frontier: the roots of its perfect subtrees, largest first, one for each set
bit of its size. Appending n leaves takes about n hashes; computing the root takes O(log size)
hashes. Proofs are in `proofs`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

HASH_BYTES = 32


def hash_leaf(*, row_id: int, recorded_at: str, mac: str | None, body: str) -> bytes:
    """Return the leaf hash of a row: of its id, its time, its MAC and the hash of its body.

    Args:
        row_id: `audit_event.id`.
        recorded_at: the time by the database clock, in UTC with microseconds and ``Z``.
        mac: the MAC of the body in hexadecimal, or None if the trail has no key.
        body: the exact canonical text.
    """
    # Canonical JSON is written by hand because this runs once for every row. After tampering, a MAC
    # may be any text, so it is quoted as JSON unless it is alphanumeric.
    if mac is not None and mac.isalnum():
        quoted = f'"{mac}"'
    else:
        quoted = json.dumps(mac, ensure_ascii=False)
    digest = hashlib.sha256(body.encode()).hexdigest()
    leaf = (
        f'{{"body_sha256":"{digest}","id":"{row_id}","mac":{quoted},'
        f'"recorded_at":"{recorded_at}","v":1}}'
    )
    return hashlib.sha256(b"\x00" + leaf.encode()).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Tree:
    """Merkle tree of `size` leaves, stored as its frontier."""

    size: int = 0
    frontier: tuple[bytes, ...] = ()

    @classmethod
    def load(cls, size: int, frontier: bytes) -> Tree:
        """Return the tree with this size and a frontier from `dump`."""
        steps = range(0, len(frontier), HASH_BYTES)
        return cls(size, tuple(frontier[i : i + HASH_BYTES] for i in steps))

    def dump(self) -> bytes:
        """Return the frontier as bytes, 32 for each set bit of the size."""
        return b"".join(self.frontier)

    def append(self, leaves: Iterable[bytes]) -> Tree:
        """Return the tree with these leaf hashes appended."""
        builder = TreeBuilder(self)
        for leaf in leaves:
            builder.append(leaf)
        return builder.tree()

    @property
    def root(self) -> bytes:
        """The root hash; for the empty tree, the hash of the empty string."""
        if not self.frontier:
            return hashlib.sha256().digest()
        node = self.frontier[-1]
        for left in reversed(self.frontier[:-1]):
            node = hash_node(left, node)
        return node


class TreeBuilder:
    """Mutable Merkle tree, for appending many leaves one by one.

    Attributes:
        size: the number of leaves so far.
    """

    def __init__(self, tree: Tree | None = None) -> None:
        start = tree or Tree()
        self.size = start.size
        self._frontier = list(start.frontier)

    def append(self, leaf: bytes) -> None:
        """Append a leaf hash."""
        node, bits, frontier = leaf, self.size, self._frontier
        while bits & 1:
            node = hashlib.sha256(b"\x01" + frontier.pop() + node).digest()
            bits >>= 1
        frontier.append(node)
        self.size += 1

    def tree(self) -> Tree:
        """Return a snapshot of the tree, which later leaves do not change."""
        return Tree(self.size, tuple(self._frontier))
