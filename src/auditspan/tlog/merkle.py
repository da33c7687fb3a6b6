"""The Merkle tree over the trail (RFC 6962 §2.1, RFC 9162 §2.1): leaves, nodes, growth.

A tree is kept as its frontier: the roots of the perfect subtrees that make it up, largest first,
one for every bit that is set in its size. Appending n leaves takes about n hashes, computing the
root a number that is logarithmic in the size. The proofs are in `proofs`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

HASH_BYTES = 32


def hash_leaf(*, row_id: int, recorded_at: str, mac: str | None, body: str) -> bytes:
    """The leaf of one row: what the database added, the MAC, and the hash of the body.

    Args:
        row_id: `audit_event.id`.
        recorded_at: the database's clock, UTC with microseconds and ``Z``.
        mac: the MAC of the body in hexadecimal, or None where the trail has no key.
        body: the exact canonical text.
    """
    # Canonical JSON written out, since this runs once for every row. A MAC that somebody put into
    # the table may be any text, so it is quoted as JSON where it is not plain.
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
        builder = TreeBuilder(self)
        for leaf in leaves:
            builder.append(leaf)
        return builder.tree()

    @property
    def root(self) -> bytes:
        """The root hash; that of the empty tree is the hash of nothing."""
        if not self.frontier:
            return hashlib.sha256().digest()
        node = self.frontier[-1]
        for left in reversed(self.frontier[:-1]):
            node = hash_node(left, node)
        return node


class TreeBuilder:
    """A tree that grows in place, leaf by leaf, for those who pass over many leaves.

    Attributes:
        size: the number of leaves so far.
    """

    def __init__(self, tree: Tree | None = None) -> None:
        start = tree or Tree()
        self.size = start.size
        self._frontier = list(start.frontier)

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash at the end."""
        node, bits, frontier = leaf, self.size, self._frontier
        while bits & 1:
            node = hashlib.sha256(b"\x01" + frontier.pop() + node).digest()
            bits >>= 1
        frontier.append(node)
        self.size += 1

    def tree(self) -> Tree:
        """The tree as it is now; later leaves do not change it."""
        return Tree(self.size, tuple(self._frontier))
