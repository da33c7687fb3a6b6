"""Consecutive leaves whose predecessors are known only by their frontier."""

from __future__ import annotations

from auditspan.tlog.merkle import Tree, hash_node

_Node = tuple[int, int, bytes]
"""First leaf, number of leaves and root of a perfect subtree."""


class LeafRange:
    """Leaves from a sequence number on, kept as the roots of perfect subtrees.

    Args:
        start: the sequence number of the first leaf.
    """

    def __init__(self, start: int) -> None:
        self._end = start
        self._nodes: list[_Node] = []

    def append(self, leaf: bytes) -> None:
        """Append the next leaf."""
        _push(self._nodes, (self._end, 1, leaf))
        self._end += 1

    def after(self, tree: Tree) -> Tree:
        """Return the tree of the leaves before the range, and of the range.

        Raises:
            ValueError: the tree does not end where the range begins.
        """
        nodes, start = list[_Node](), 0
        for bits, root in zip(_bits(tree.size), tree.frontier, strict=True):
            nodes.append((start, 1 << bits, root))
            start += 1 << bits
        for node in self._nodes:
            if nodes and sum(nodes[-1][:2]) != node[0]:
                raise ValueError("the tree does not end where the range begins")
            _push(nodes, node)
        return Tree(self._end if self._nodes else tree.size, tuple(root for _, _, root in nodes))


def _push(nodes: list[_Node], node: _Node) -> None:
    """Append a subtree, and merge it with its left sibling as long as there is one."""
    start, size, root = node
    while nodes and nodes[-1][1] == size and nodes[-1][0] % (2 * size) == 0:
        left, _, left_root = nodes.pop()
        start, size, root = left, 2 * size, hash_node(left_root, root)
    nodes.append((start, size, root))


def _bits(size: int) -> list[int]:
    return [bits for bits in reversed(range(size.bit_length())) if size >> bits & 1]
